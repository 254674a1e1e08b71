"""Results as bytes, exactly and without pickle: plain values as JSON, tensors as what an earlier one does not foretell.

Only dataclasses of the lab are made from such bytes, and nothing in them is run.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import json
import math
import zlib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

HEAD = 8
"""Bytes in front that tell how long the plain values are."""
KIND = "$"
"""The name under which a value that JSON has no word for tells what it is."""


def pack(value: Any) -> bytes:
    """A value as bytes, from which `unpack` makes an equal one.

    What has a light form is kept in that, `light()`: what can be shown of it, in few bytes.

    Args:
        value: of dataclasses of the lab, tensors, tuples, lists, mappings, enumerations of the lab, and what JSON has.

    Raises:
        TypeError: where there is anything else in it.
    """
    tensors: list[Tensor] = []
    plain = json.dumps(_plain(value, tensors), separators=(",", ":")).encode()
    packer = zlib.compressobj(9)
    body = b"".join([packer.compress(plain), *(packer.compress(part) for part in _residues(tensors)), packer.flush()])
    return len(plain).to_bytes(HEAD, "big") + body


def archive(arrays: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of an .npz file, for a person to take away."""
    file = io.BytesIO()
    kept: dict[str, Any] = {name: values.detach().cpu().numpy() for name, values in arrays.items()}
    np.savez_compressed(file, **kept)
    return file.getvalue()


def unpack(data: bytes) -> Any:
    """The value in bytes of `pack`.

    Raises:
        ValueError: where they are none.
    """
    try:
        body = zlib.decompress(data[HEAD:])
        length = int.from_bytes(data[:HEAD], "big")
        tensors = _Tensors(body[length:])
        value = _value(json.loads(body[:length]), tensors)
        if length + tensors.place != len(body):
            raise IndexError("bytes are left, or missing")
        return value
    except (zlib.error, AttributeError, ImportError, KeyError, TypeError, IndexError) as e:
        raise ValueError("these bytes hold no result") from e


def _plain(value: Any, tensors: list[Tensor]) -> Any:
    """A value as JSON can hold it; its tensors are added to the list."""
    if isinstance(value, Tensor):
        tensors.append(value.detach().cpu().contiguous())
        return {KIND: "tensor", "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, enum.Enum):
        return {KIND: "enum", "class": _name(type(value)), "name": value.name}
    if isinstance(value, float):
        return value if math.isfinite(value) else {KIND: "float", "value": str(value)}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = value.light() if hasattr(value, "light") else value
        kept = {f.name: _plain(getattr(value, f.name), tensors) for f in dataclasses.fields(value)}
        return {KIND: "object", "class": _name(type(value)), "fields": kept}
    if isinstance(value, tuple):
        return {KIND: "tuple", "items": [_plain(each, tensors) for each in value]}
    if isinstance(value, list):
        return [_plain(each, tensors) for each in value]
    if isinstance(value, Mapping):
        pairs = [[_plain(key, tensors), _plain(each, tensors)] for key, each in value.items()]
        return {KIND: "mapping", "items": pairs}
    raise TypeError(f"a {type(value).__name__} cannot be packed")


def _value(plain: Any, tensors: _Tensors) -> Any:
    """What `_plain` was made of."""
    if isinstance(plain, list):
        return [_value(each, tensors) for each in plain]
    if not isinstance(plain, dict):
        return plain
    match plain[KIND]:
        case "tensor":
            return tensors.next(tuple(plain["shape"]), plain["dtype"])
        case "float":
            return float(plain["value"])
        case "enum":
            return _class(plain["class"], enum.Enum)[plain["name"]]
        case "tuple":
            return tuple(_value(each, tensors) for each in plain["items"])
        case "mapping":
            return {_value(key, tensors): _value(each, tensors) for key, each in plain["items"]}
        case "object":
            kept = {name: _value(each, tensors) for name, each in plain["fields"].items()}
            return _class(plain["class"], None)(**kept)
        case kind:
            raise KeyError(kind)


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str, base: type | None) -> Any:
    """A dataclass of the lab, or an enumeration of the lab where that is asked for.

    Raises:
        KeyError: where the name is of nothing of the kind.
    """
    module, _, kind = name.partition(":")
    if not module.startswith("lab."):
        raise KeyError(name)
    found = getattr(import_module(module), kind)
    if not isinstance(found, type) or not (issubclass(found, base) if base else dataclasses.is_dataclass(found)):
        raise KeyError(name)
    return found


def _words(tensor: Tensor) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The values of a tensor as whole numbers of as many bits."""
    array = tensor.numpy() if tensor.dtype != torch.bool else tensor.numpy().view(np.uint8)
    return array.reshape(-1).view(f"u{array.itemsize}")


def _foretold(
    words: int, shape: tuple[int, ...], dtype: str, before: dict[tuple[Any, ...], Any]
) -> npt.NDArray[np.unsignedinteger[Any]] | None:
    """What the last tensor of this kind and row shape says of the words of the next, repeated as often as it takes."""
    last = before.get((dtype, shape[1:]))
    return None if last is None or not len(last) else np.resize(last, words)


def _residues(tensors: list[Tensor]) -> list[bytes]:
    """The words of each tensor less what was foretold of them, with bytes of one rank side by side."""
    before: dict[tuple[Any, ...], Any] = {}
    parts = []
    for tensor in tensors:
        words, shape, dtype = _words(tensor), tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        said = _foretold(len(words), shape, dtype, before)
        rest = words if said is None else words - said
        parts.append(rest.view(np.uint8).reshape(-1, words.itemsize).T.tobytes())
        before[dtype, shape[1:]] = words
    return parts


class _Tensors:
    """Takes one tensor after the other from the bytes of `_residues`."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0
        self.before: dict[tuple[Any, ...], Any] = {}

    def next(self, shape: tuple[int, ...], dtype: str) -> Tensor:
        """The next tensor, which has this shape and kind."""
        kind = torch.bool if dtype == "bool" else getattr(torch, dtype)
        size = 1 if kind == torch.bool else torch.empty((), dtype=kind).element_size()
        count = math.prod(shape)
        ranks = np.frombuffer(self.data, np.uint8, count * size, self.place).reshape(size, count)
        self.place += count * size
        words = np.ascontiguousarray(ranks.T).view(f"u{size}").reshape(-1)
        said = _foretold(count, shape, dtype, self.before)
        words = words.copy() if said is None else words + said
        self.before[dtype, shape[1:]] = words
        return (
            torch.from_numpy(words.view(np.uint8)).view(kind).reshape(shape)
            if count
            else torch.empty(shape, dtype=kind)
        )
