"""Operator norms of a network's linear and convolutional layers: how much each can stretch a change, at most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab import devices
from lab.experiments.representations.activations import network
from lab.predict import logits_of
from lab.progress import SILENT, Progress
from lab.types import TINY, Model

TOLERANCE = 1e-4
"""The iteration ends when a step changes the norm by less than this share."""
Affine = nn.Linear | nn.Conv2d | nn.BatchNorm2d


@dataclass(frozen=True)
class Stretch:
    """One layer's operator norm.

    Attributes:
        name: as in `named_modules` of the network.
        kind: its class.
        norm: its largest singular value, for inputs of the size that it gets here.
    """

    name: str
    kind: str
    norm: float


@dataclass(frozen=True)
class Instability:
    """How much a network can stretch a change, and how much it stretched one.

    Attributes:
        norms: the operator norm of each layer.
        measured: the L2 change of the logits over that of the image.
    """

    norms: tuple[Stretch, ...]
    measured: float


def operator_norms(
    model: Model,
    x: Tensor,
    *,
    iterations: int = 100,
    seed: int = 0,
    progress: Progress = SILENT,
) -> tuple[Stretch, ...]:
    """The operator norm (L2) of every linear and convolutional layer and batch norm, in the order of the calls.

    Power iteration through the layer itself, so that padding, stride and groups count as they are.

    Args:
        model: a network.
        x: one image [1,C,H,W], for the sizes that the layers get.
        iterations: most steps of the iteration.
        seed: of its start.
        progress: hears of every layer.

    Raises:
        Cancelled: where the work is to stop.

    Source: Szegedy et al. 2013, section 4.3.
    """
    net = network(model)
    given: dict[str, tuple[nn.Module, Tensor]] = {}
    for name, module in net.named_modules():
        if isinstance(module, Affine):
            module.register_forward_pre_hook(_noting(name, given))
    with torch.no_grad():
        net(x[:1].to(devices.of(net, x)))
    for module in net.modules():
        module._forward_pre_hooks.clear()
    norms = []
    for k, (name, (module, like)) in enumerate(given.items()):
        progress.tell(k / len(given), name.removeprefix("net."))
        norm = operator_norm(module, like, iterations=iterations, seed=seed)
        norms.append(Stretch(name, type(module).__name__, norm))
    return tuple(norms)


def bound(norms: tuple[Stretch, ...]) -> float:
    """The product of the norms: an upper bound of the stretch of a plain chain of layers with ReLU and max-pooling."""
    return math.prod(s.norm for s in norms)


def instability(model: Model, clean: Tensor, attacked: Tensor, *, progress: Progress = SILENT) -> Instability:
    """How much each layer can stretch a change at most, beside what an attack gets.

    Args:
        model: a network.
        clean: one image [1,C,H,W].
        attacked: the same image, attacked.
        progress: hears of every layer.

    Raises:
        Cancelled: where the work is to stop.
    """
    norms = operator_norms(model, clean, progress=progress)
    before, after = logits_of(model, torch.cat([clean, attacked]))
    moved = float((attacked - clean).norm())
    return Instability(norms, float((after - before).norm()) / max(moved, TINY))


def operator_norm(
    layer: Callable[[Tensor], Tensor],
    like: Tensor,
    *,
    iterations: int = 200,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> float:
    """The largest singular value of an affine map, by power iteration on its linear part.

    Args:
        layer: an affine map of tensors [1,...].
        like: an input of the right shape, [1,...].
        iterations: most steps.
        tolerance: it ends earlier once a step changes the norm by less than this share.
        seed: of the start.
    """
    if isinstance(layer, nn.BatchNorm2d):  # diagonal: no need to iterate
        if layer.running_var is None:
            return 1.0
        scale = torch.rsqrt(layer.running_var + layer.eps) * (1 if layer.weight is None else layer.weight)
        return float(scale.detach().abs().max())
    v = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like)
    with torch.no_grad():
        offset = layer(torch.zeros_like(like))
    norm = 0.0
    for _ in range(iterations):
        v = v / v.norm().clamp(min=TINY)
        with torch.enable_grad():
            u = v.detach().requires_grad_()
            stretched = layer(u) - offset
            size = float(stretched.detach().norm())
            (v,) = torch.autograd.grad(stretched, u, stretched.detach())  # the transpose of the linear part
        if abs(size - norm) <= tolerance * size:
            return size
        norm = size
    return norm


def _noting(name: str, given: dict[str, tuple[nn.Module, Tensor]]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        given.setdefault(name, (module, args[0].detach()))

    return hook
