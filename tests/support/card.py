"""A second device, pretended: tensors that say "card", hold their values on the CPU, and refuse to mix with others.

On a machine without a GPU this shows where code forgets on which device a tensor lies. Built on torch's registration of
backends written in Python; what touches a tensor on the card goes through `_run`, in every thread.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

CARD = "card"
aten = torch.ops.aten
ACROSS = {aten._to_copy.default, aten.copy_.default}
"""Operators that take tensors of two devices, on any other device too."""
PLACES = {aten.index.Tensor: 1, aten.index_put_.default: 1, aten.index_put.default: 1, aten._index_put_impl_.default: 1}
"""Operators one of whose arguments, at this place, may lie on the CPU: what says where."""


class Card(Tensor):
    """A tensor on the card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Card:
        made: Card = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=f"{CARD}:0",
        )
        made.held = held
        return made

    def __repr__(self, **kwargs: Any) -> str:
        return f"Card({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copied = self.detach().clone()
            parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(copied, self.requires_grad) if parameter else copied
        return memo[id(self)]

    def numpy(self, **kwargs: Any) -> Any:
        raise TypeError("can't convert card:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")

    def __array__(self, *args: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """An operator on the tensors that are held; what it answers lies on the card where it was asked there."""
    tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    cards = {id(t.held): t for t in tensors if isinstance(t, Card)}
    device = kwargs.get("device")
    if cards and func not in ACROSS:
        _refuse(func, args, kwargs)
    own = dict(kwargs)
    if device is not None:
        own["device"] = "cpu"
    a, k = pytree.tree_map(_held, (tuple(args), own))
    answer = func(*a, **k)
    if func is aten.copy_.default:
        return args[0]
    if torch.device(device).type != CARD if device is not None else not cards:
        return answer
    return pytree.tree_map(lambda t: cards[id(t)] if id(t) in cards else _carded(t), answer)


def _refuse(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises RuntimeError, as torch does, where a tensor that is no single number lies on another device."""
    at = PLACES.get(func)
    given = (*(arg for k, arg in enumerate(args) if k != at), *kwargs.values())
    for t in pytree.tree_leaves(given):
        if isinstance(t, Tensor) and not isinstance(t, Card) and t.dim():
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {CARD}:0 and "
                f"{t.device}! (when checking {func})"
            )
        if isinstance(t, torch.Generator):
            raise RuntimeError(f"Expected a '{CARD}' device type for generator but found '{t.device.type}'")


def _held(t: Any) -> Any:
    return t.held if isinstance(t, Card) else t


def _carded(t: Any) -> Any:
    return Card(t) if isinstance(t, Tensor) else t


def _maker(name: str) -> Callable[..., Card]:
    """An operator that makes a tensor of nothing, on the card."""
    packet, _, overload = name.partition(".")
    op = getattr(getattr(aten, packet), overload or "default")

    def make(*args: Any, **kwargs: Any) -> Card:
        return Card(op(*args, **{**kwargs, "device": "cpu"}))

    return make


def _copy_from(source: Tensor, into: Tensor, non_blocking: bool = False) -> Tensor:
    _held(into).copy_(_held(source))
    return into


MAKERS = (
    *("empty.memory_format", "empty_strided", "empty_permuted", "eye", "eye.m", "linspace", "logspace"),
    *("arange", "arange.start", "arange.start_step", "tril_indices", "triu_indices", "randperm"),
)
"""Where these are written for all devices at once, the result is resized, which a wrapped tensor cannot be."""


class _Module:
    """What torch asks of a device's module; random numbers are drawn by the CPU's generator."""

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed(self, seed: int) -> None:
        pass

    manual_seed_all = manual_seed

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.zeros(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        pass

    def device(self, device: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@functools.cache
def plug_in() -> tuple[torch.library.Library, ...]:
    """Registers the card, once."""
    _setup_privateuseone_for_python_backend(CARD, _Module())
    library = torch.library.Library("aten", "IMPL")
    for name in MAKERS:
        library.impl(name, _maker(name), "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    autocast = torch.library.Library("_", "IMPL")
    autocast.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    return library, autocast
