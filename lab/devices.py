"""Where the work runs: the device, how precisely it computes, and how many images fit into its memory at once."""

from __future__ import annotations

import copy
import os
import platform
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lab.types import LabError, LabWarning, Model, ModelError, ParamError

T = TypeVar("T")
CHOICE = "LAB_DEVICE"
"""The environment variable that names the device, e.g. cpu, cuda or cuda:1."""

CPU_BUDGET = 2 * 2**30
"""Bytes of activations that one chunk of a batch may hold on the CPU."""
SMALL = 8
"""Batches up to this size are never split."""

_bytes_per_image: weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = weakref.WeakKeyDictionary()


_chosen: str | None = None


def pick() -> torch.device:
    """The device everything runs on: the one chosen, or that LAB_DEVICE names, else CUDA when present, else the CPU.

    Raises:
        ParamError: where LAB_DEVICE names none that is here.
    """
    return _named(choice())


def choice() -> str:
    """The name of the device that was chosen; empty where none was."""
    return (os.environ.get(CHOICE, "") if _chosen is None else _chosen).strip().lower()


def choose(name: str | None) -> None:
    """Makes a device the one that everything runs on from now on; None leaves it to LAB_DEVICE again.

    Raises:
        ParamError: where there is no such device.
    """
    global _chosen
    if name is not None:
        _named(name.strip().lower())
    _chosen = name


def present() -> list[str]:
    """The devices that are here, by the names that `choose` takes."""
    return ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]


def cards() -> list[str]:
    """The GPUs to share work out among; none where one device was chosen."""
    return [] if choice() else present()[1:]


@cache
def _named(name: str) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        count = 1 if device.type == "cpu" else torch.get_device_module(device).device_count()
    except RuntimeError:
        count = 0
    if not count or (device.index or 0) >= count:
        raise ParamError(f"there is no device '{name}' here: {CHOICE} and --device take {', '.join(present())}")
    return device


def describe(device: torch.device | None = None) -> str:
    """A device in words for a person; without one, that everything runs on."""
    device = pick() if device is None else device
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        return f"{torch.cuda.get_device_name(device)} ({memory:.0f} GiB)"
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads ({platform.machine()})"
    return str(device)


@contextmanager
def own_dice(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """In here torch's random numbers, on CPU and device, follow a seed or go on; then it is as if none were drawn."""
    cards = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=cards, device_type=device.type if cards else "cuda"):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            for card in cards:
                module = torch.get_device_module(card)
                with module.device(card):
                    module.manual_seed(seed)
        yield


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


_lock, _inside = Lock(), 0
_before: _Switches | None = None
"""How many are computing in full precision, and what was set before the first of them began."""


def _operators() -> tuple[Any, ...]:
    """What may compute with fewer digits than float32 has, where a switch of torch says so."""
    b: Any = torch.backends
    return b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv


@dataclass(frozen=True)
class _Switches:
    """How torch is to compute in float32: by the older switches, None where the newer contradict them, and by these."""

    cudnn: bool | None
    matmul: str | None
    each: tuple[str, ...]

    @classmethod
    def read(cls) -> _Switches:
        cudnn, matmul = None, None
        with suppress(RuntimeError):
            cudnn = torch.backends.cudnn.allow_tf32
        with suppress(RuntimeError):
            matmul = torch.get_float32_matmul_precision()
        return cls(cudnn, matmul, tuple(op.fp32_precision for op in _operators()))

    def exact(self) -> _Switches:
        """The same, with all digits."""
        cudnn, matmul = None if self.cudnn is None else False, None if self.matmul is None else "highest"
        return _Switches(cudnn, matmul, ("ieee",) * len(self.each))

    def write(self) -> None:
        """Sets them; the older first, which set the newer as well."""
        if self.cudnn is not None:
            torch.backends.cudnn.allow_tf32 = self.cudnn
        if self.matmul is not None:
            torch.set_float32_matmul_precision(self.matmul)
        for op, value in zip(_operators(), self.each, strict=True):
            op.fp32_precision = value


@contextmanager
def full_precision() -> Iterator[None]:
    """In here float32 is float32: TF32 and its like are off, in all threads, for the switches are the process's.

    What verdicts and stored figures are computed in, so that they are the same on every device. When nobody is in here
    any more, the switches are again as they were.
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = _Switches.read()
            _before.exact().write()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _before:
                _before.write()


def is_rough(device: torch.device) -> bool:
    """Whether a device computes float32 with fewer digits by a switch of torch, such as TF32."""
    matmul, conv, rnn, *others = _operators()
    return any(
        each.fp32_precision in ("tf32", "bf16") for each in (others if device.type == "cpu" else (matmul, conv, rnn))
    )


def in_parts(x: Tensor, rows: int, work: Callable[[Tensor], T]) -> Iterator[T]:
    """What work makes of images [N,...], so many rows at a time; fewer from where the memory is short.

    Raises:
        ModelError: where not even one image fits.
    """
    at, done = 0, list[T]()
    while at < len(x):
        with suppress(torch.OutOfMemoryError):  # what the work held is given back when this block is left
            done.append(work(x[at : at + rows]))
        if done:
            at += rows
            yield done.pop()
        else:
            rows = fewer(min(rows, len(x) - at))


def fewer(rows: int) -> int:
    """Half of so many images, as that many were too much for the memory, which is said.

    Raises:
        ModelError: where it was one.
    """
    free()
    if rows < 2:
        raise too_small()
    warnings.warn("the device's memory is short: the work goes on with fewer images at once", LabWarning, stacklevel=3)
    return rows // 2


def too_small() -> ModelError:
    """What is told where the memory does not even hold one image."""
    return ModelError(f"not even one image fits into the memory of {describe()}: use a smaller model, or {CHOICE}=cpu")


def free() -> None:
    """Gives back the memory of the card that nothing uses any more, to other programs too."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def trouble(error: BaseException) -> LabError | None:
    """What a person is told where the device has failed; None for any other error."""
    if isinstance(error, torch.OutOfMemoryError):
        return ModelError(
            f"the memory of {describe()} does not suffice: take fewer images or a smaller model, or {CHOICE}=cpu"
        )
    if isinstance(error, torch.AcceleratorError):
        reason = str(error).splitlines()[0]
        return ModelError(f"the device has failed ({reason}): start the lab anew, with {CHOICE}=cpu if it fails again")
    return None
