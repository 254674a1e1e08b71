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

from lab.types import Model, ModelError

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
    """The model, or a copy in eval mode where any part of it is in training mode; the model itself is not touched.

    Weights that were made in inference mode cannot take part in a gradient: such a model is copied, too.

    Raises:
        ModelError: where it would have to be copied and cannot be.
    """
    if not isinstance(model, nn.Module):
        return model
    weights = [*model.parameters(), *model.buffers()]
    if not in_training(model) and not any(t.is_inference() for t in weights):
        return model
    return _copied(model, {id(t): _ordinary(t) for t in weights if t.is_inference()})


def in_training(module: nn.Module) -> bool:
    """Whether any part of a module is in training mode.

    A frozen script has no mode; an exported graph keeps that of its export, whatever it says of itself.
    """
    if "train" in vars(module):
        return False
    return bool(getattr(module, "training", False)) or any(map(in_training, module.children()))


def twin(model: nn.Module) -> nn.Module:
    """A copy of a network in eval mode that shares its weights: hooks can be put on it, and parts replaced.

    Raises:
        ModelError: where it cannot be copied.
    """
    return _copied(model, {id(t): t for t in (*model.parameters(), *model.buffers())})


def _copied(model: nn.Module, known: dict[int, Any]) -> nn.Module:
    """A copy in eval mode, with `known` in place of what has these ids.

    What a network keeps of its last answer belongs to a graph, and is copied without it.
    """
    modules = list(model.modules())
    if any(_is_patched(m) for m in modules):
        raise ModelError(
            "the model's forward was replaced, so that no copy in eval mode can be made: call model.eval()"
        )
    for module in modules:
        for value in vars(module).values():
            for t in value if isinstance(value, list | tuple) else (value,):
                if isinstance(t, Tensor) and not t.is_leaf:
                    known.setdefault(id(t), t.detach().clone())
    try:
        return copy.deepcopy(model, known).eval()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as e:  # a part that was never meant to be copied may raise anything; it is told, and chained
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ModelError(
            f"the model cannot be copied ({reason}): call model.eval(), and leave out what it keeps"
        ) from e


def _is_patched(module: nn.Module) -> bool:
    """Whether its forward is a function of its own, which would go on using the original in a copy."""
    forward = vars(module).get("forward")
    return forward is not None and getattr(forward, "__self__", None) is not module


def _ordinary(t: Tensor) -> Tensor:
    """A copy of a weight that was made in inference mode, as an ordinary one."""
    with torch.inference_mode(False):
        clone = t.detach().clone()
        return nn.Parameter(clone, requires_grad=False) if isinstance(t, nn.Parameter) else clone


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
