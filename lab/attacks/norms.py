"""The norms an attack can be bounded in: length, steepest step, projection and random points, one object each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-12


Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Norm:
    """What an attack needs to know of a norm.

    Attributes:
        length: perturbations [N,...] -> their norms [N].
        steepest: gradients [N,...] -> the unit-norm steps along which a linear function with that gradient grows
            fastest; zero where the gradient is zero.
        ball: (clean images [N,...], eps) -> the projection of images [N,...] onto those in [0,1] within eps of the
            clean ones.
        sample: (random generator, like [N,...]) -> one perturbation uniform in the unit ball [1,...], for every row.
    """

    length: Callable[[Tensor], Tensor]
    steepest: Callable[[Tensor], Tensor]
    ball: Callable[[Tensor, float], Projection]
    sample: Callable[[torch.Generator, Tensor], Tensor]


def _rows(v: Tensor, like: Tensor) -> Tensor:
    return v.view(-1, *[1] * (like.dim() - 1))


def _l2(d: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(d.flatten(1), dim=1)
    return length


def _unit(g: Tensor) -> Tensor:
    """Divides by the largest value first, so that the squares of a tiny gradient do not vanish."""
    largest = _rows(g.flatten(1).abs().amax(1), g)
    g = g / torch.where(largest > 0, largest, 1)
    return g / _rows(_l2(g).clamp(min=TINY), g)


def _linf_ball(x: Tensor, eps: float) -> Projection:
    """Ball and pixel range are both boxes, so one clamp does both."""
    low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    return lambda z: z.clamp(low, high)


def _l2_ball(x: Tensor, eps: float) -> Projection:
    """Shrinks the perturbation, then clips: clipping moves values towards x, so it never leaves the ball."""

    def project(z: Tensor) -> Tensor:
        d = z - x
        shrink: Tensor = (eps / _l2(d).clamp(min=TINY)).clamp(max=1)
        inside: Tensor = (x + d * _rows(shrink, d)).clamp_(0, 1)
        return inside

    return project


def _l2_sample(rng: torch.Generator, like: Tensor) -> Tensor:
    direction = draw(rng, like, normal=True)
    radius = torch.rand(1, generator=rng).to(like) ** (1 / direction[0].numel())
    return direction / _rows(_l2(direction), direction) * radius


def draw(rng: torch.Generator, like: Tensor, *, normal: bool = False) -> Tensor:
    """Random numbers [1,C,H,W] for images [N,C,H,W]: uniform in [-1,1], or standard normal.

    One draw serves every row, and the generator lives on the CPU: each image is attacked as if it were alone, so its
    result depends neither on the batch around it nor on the device.
    """
    shape = (1, *like.shape[1:])
    numbers = torch.randn(shape, generator=rng) if normal else torch.rand(shape, generator=rng) * 2 - 1
    return numbers.to(like)


NORMS: Mapping[str, Norm] = {
    "linf": Norm(
        length=lambda d: d.flatten(1).abs().amax(1),
        steepest=torch.sign,
        ball=_linf_ball,
        sample=lambda rng, like: draw(rng, like),
    ),
    "l2": Norm(
        length=_l2,
        steepest=_unit,
        ball=_l2_ball,
        sample=_l2_sample,
    ),
}


def distances(x: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """How far images [N,...] are from the clean ones, each [N].

    "linf" is the largest change of a value, "l2" the Euclidean length, "l0" the number of values that changed.
    """
    d = (x - clean).flatten(1)
    low, high = torch.aminmax(d, dim=1)
    return {
        "linf": torch.maximum(-low, high).abs(),  # no -0
        "l2": torch.linalg.vector_norm(d, dim=1),
        "l0": torch.linalg.vector_norm(d, 0, dim=1).to(torch.int64),
    }


class Distances(Mapping[str, Tensor]):
    """What `distances` tells, computed at the first look: a trace costs nothing for what nobody asks of it."""

    def __init__(self, x: Tensor, clean: Tensor) -> None:
        self._pair: tuple[Tensor, Tensor] | None = (x, clean)
        self._known: dict[str, Tensor] = {}

    def _all(self) -> dict[str, Tensor]:
        if self._pair is not None:
            self._known, self._pair = distances(*self._pair), None
        return self._known

    def __getitem__(self, key: str) -> Tensor:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
