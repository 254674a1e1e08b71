"""Where the work runs: the device, and how many images fit into memory at once."""

from __future__ import annotations

import copy
import platform
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from lab.types import Model

CPU_BUDGET = 2 * 2**30
"""Bytes of activations that one chunk of a batch may hold on the CPU."""
SMALL = 8
"""Batches up to this size are never split."""

_bytes_per_image: weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = weakref.WeakKeyDictionary()


@cache
def pick() -> torch.device:
    """The device everything runs on: CUDA when present, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def describe() -> str:
    """The device in words for a person."""
    if pick().type == "cuda":
        memory = torch.cuda.get_device_properties(pick()).total_memory / 2**30
        return f"{torch.cuda.get_device_name(pick())} ({memory:.0f} GiB)"
    return f"CPU, {torch.get_num_threads()} threads ({platform.machine()})"


def of(model: Model, fallback: Tensor) -> torch.device:
    """The device of a model's parameters, or of the tensor where the model has none."""
    if isinstance(model, nn.Module):
        for p in model.parameters():
            return p.device
    return fallback.device


def in_eval_mode(model: Model) -> Model:
    """The model, or a copy in eval mode where any part of it is in training mode; the model itself is not touched."""
    if isinstance(model, nn.Module) and any(m.training for m in model.modules()):
        return copy.deepcopy(model).eval()
    return model


def twin(model: nn.Module) -> nn.Module:
    """A copy of a network in eval mode that shares its weights: hooks can be put on it, and parts replaced."""
    shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared).eval()


def chunks(model: Model, x: Tensor, ask: Callable[[Tensor], object] | None = None) -> Iterator[slice]:
    """Slices of the batch x [N,...] that fit into memory one after another, gradients included.

    Args:
        model: images -> logits.
        x: the batch.
        ask: the model in a wrapper, asked instead where its memory has to be measured.
    """
    n = len(x)
    size = n if n <= SMALL else min(n, rows_that_fit(model, x, ask))
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def rows_that_fit(model: Model, x: Tensor, ask: Callable[[Tensor], object] | None = None) -> int:
    """How many images like those in x [N,...] the model can hold at once with what autograd keeps of them.

    Measured on one image, once per module and shape; for a plain function, anew each time.
    """
    key = tuple(x.shape[1:])
    known = _bytes_per_image.setdefault(model, {}) if isinstance(model, nn.Module) else {}
    if key not in known:
        known[key] = _activation_bytes(model, ask or model, x[:1])
    device = of(model, x)
    budget = int(torch.cuda.mem_get_info(device)[0] * 0.6) if device.type == "cuda" else CPU_BUDGET
    return max(1, budget // max(1, known[key]))


def _activation_bytes(model: Model, ask: Callable[[Tensor], object], one: Tensor) -> int:
    seen: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    own = {p.untyped_storage().data_ptr() for p in parameters}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        # a copy of the image: the caller's tensor must not start to require a gradient
        ask(one.detach().clone().to(of(model, one)).requires_grad_())
    return 2 * sum(size for storage, size in seen.items() if storage not in own)
