"""Weights on disk: safetensors only, written aside and renamed, and checked against the net before they are used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lab.types import ModelError

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files start that `torch.save` or `pickle` wrote: a zip archive, or a pickle's protocol mark."""


def save_weights(
    net: nn.Module, path: Path, *, dtype: torch.dtype = torch.float32, about: Mapping[str, str] | None = None
) -> None:
    """Writes every parameter and buffer of a net.

    Args:
        net: the net; it is not changed.
        path: the file to write; it appears whole or not at all.
        dtype: how floating-point numbers are stored, e.g. float16 for half the size.
        about: text to store beside the numbers.
    """
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    write_tensors(path, tensors, about or {})


def load_into(net: nn.Module, path: Path) -> nn.Module:
    """Fills a net with the weights of a file; nothing is ever unpickled.

    Args:
        net: the net to fill, in place; it stays as it was if the file is refused.
        path: a safetensors file written for the same architecture.

    Returns:
        The same net.

    Raises:
        ModelError: if the file is absent, truncated, a pickle, of another architecture, or holds NaN or infinity.
    """
    tensors, _ = read_tensors(path)
    _check_fit(net, tensors, path)
    net.load_state_dict({k: tensors[k].to(v.dtype) for k, v in net.state_dict().items()})
    return net


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Writes tensors and text into one safetensors file, aside first and then renamed into place.

    Raises:
        OSError: if the disk refuses; a file that was there before is then still whole.
    """
    plain = {k: v.detach().to("cpu").contiguous() for k, v in tensors.items()}
    write_bytes(path, save(plain, metadata=dict(about)))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file aside and renames it into place, so that it is whole whatever interrupts the writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text of a safetensors file.

    Raises:
        ModelError: if the file is absent, a pickle, or not a whole safetensors file.
    """
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}: train it, or check its name")
    with path.open("rb") as f:
        if f.read(4).startswith(_PICKLES):
            raise ModelError(f"{path.name} is a pickle, which could run code when opened: save it as safetensors")
    try:
        with safe_open(path, framework="pt") as f:
            return {k: f.get_tensor(k) for k in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as e:
        raise ModelError(f"{path.name} is not a whole safetensors file ({e}): fetch or train it again") from e


def _check_fit(net: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = net.state_dict()
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unexpected:
        wrong = f"lacks {_some(missing)}" if missing else f"has {_some(unexpected)} besides"
        raise ModelError(f"{path.name} holds the weights of another architecture: it {wrong}")
    for name, value in own.items():
        if tensors[name].shape != value.shape:
            shapes = f"{list(tensors[name].shape)} instead of {list(value.shape)}"
            raise ModelError(f"{path.name} holds the weights of another architecture: {name} is {shapes}")
        if not tensors[name].isfinite().all():
            raise ModelError(f"{path.name} holds NaN or infinity in {name}: train it again")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
