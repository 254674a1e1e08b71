"""The norms an attack can be bounded in: length, steepest step, projection and random points, one object each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lab.params import Bounds, param
from lab.types import TINY

Projection = Callable[[Tensor], Tensor]
LESS = 1 - 1e-6
"""The share of a bound, in L2 and L1, to which a perturbation is shrunk, so that rounding does not lead beyond it."""
PART = 4096
"""Values that are summed at once."""


class Steepest(Protocol):
    """The type of `Norm.steepest`."""

    def __call__(self, g: Tensor, x: Tensor | None = None) -> Tensor:
        """Gradients [N,...], and the images [N,...] that are to be moved where these are known -> steps [N,...]."""


class Sampler(Protocol):
    """Draws perturbations of the unit ball."""

    def __call__(self, rng: torch.Generator, like: Tensor, rows: int = 1) -> Tensor:
        """Perturbations [rows,C,H,W] for images like these [N,C,H,W]."""


@dataclass(frozen=True)
class Norm:
    """What an attack needs to know of a norm.

    Attributes:
        length: perturbations [N,...] -> their norms [N].
        steepest: gradients -> the unit-norm steps along which a linear function with that gradient grows fastest (in L1
            spread over some values); zero where the gradient is zero.
        ball: (clean images [N,...], eps, or one [N] per image) -> the projection of images [N,...] onto those in [0,1]
            within eps of the clean ones.
        dual: gradients [N,...] -> how much a step of length 1 can gain at most, for a linear function [N].
        sample: (random generator, like [N,...], rows) -> perturbations uniform in the unit ball [rows,...]; one unless
            more are asked for, which serves every image.
    """

    length: Callable[[Tensor], Tensor]
    steepest: Steepest
    ball: Callable[[Tensor, float | Tensor], Projection]
    dual: Callable[[Tensor], Tensor]
    sample: Sampler


def per_row(v: Tensor, like: Tensor) -> Tensor:
    """One value for each image [N], shaped [N,1,...] so that it goes with images [N,...]."""
    return v.view(-1, *[1] * (like.dim() - 1))


def _size(eps: float | Tensor, like: Tensor) -> float | Tensor:
    """A radius that fits images [N,...], given as one number or one per image."""
    return per_row(eps, like) if isinstance(eps, Tensor) else eps


def _l1(d: Tensor) -> Tensor:
    return _norm(d, 1)


def _l2(d: Tensor) -> Tensor:
    return _norm(d, 2)


def _norm(d: Tensor, order: int) -> Tensor:
    """Norms [N] of perturbations [N,...], in parts: one long sum loses percents of a large picture in 32 bits."""
    d = d.flatten(1)
    if d.shape[1] <= PART:
        length: Tensor = torch.linalg.vector_norm(d, order, dim=1)
        return length
    parts = [torch.linalg.vector_norm(part, order, dim=1) for part in d.split(PART, dim=1)]
    length = torch.linalg.vector_norm(torch.stack(parts).double(), order, dim=0).to(d)
    return length


def _largest(d: Tensor) -> Tensor:
    low, high = torch.aminmax(d.flatten(1), dim=1)
    return torch.maximum(-low, high).abs()  # no -0


def _signs(g: Tensor, x: Tensor | None = None) -> Tensor:
    return g.sign()


def _unit(g: Tensor, x: Tensor | None = None) -> Tensor:
    """Divides by the largest value first, so that the squares of a tiny gradient do not vanish."""
    largest = per_row(_largest(g), g)
    g = g / torch.where(largest > 0, largest, 1)
    return g / per_row(_l2(g).clamp(min=TINY), g)


def _sparse(g: Tensor, x: Tensor | None = None) -> Tensor:
    """Spreads the step evenly over the steepest percent of the values that can still move.

    The steepest step of all moves one value only, which takes a step per value.

    Source: Tramer and Boneh 2019, section 4 (sparse l1 descent).
    """
    steep = g.flatten(1) if x is None else movable(g, x).flatten(1)
    most = max(1, steep.shape[1] // 100)
    values, places = steep.abs().topk(most, dim=1)
    chosen = torch.zeros_like(steep).scatter_(1, places, (values > 0).to(steep)) * steep.sign()
    return (chosen / chosen.abs().sum(1, keepdim=True).clamp(min=1)).view_as(g)


def furthest(g: Tensor, x: Tensor, eps: float) -> Tensor:
    """The perturbation [N,...] of an L1 norm of eps within [0,1] that gains most for a linear function of gradient g.

    The steepest values go as far as they can, one after the other, until eps is used up.
    """
    steep, start = movable(g, x).flatten(1), x.flatten(1)
    room = torch.where(steep > 0, 1 - start, torch.where(steep < 0, start, 0))
    order = steep.abs().argsort(dim=1, descending=True, stable=True)
    there = room.gather(1, order)
    used = (eps - (there.cumsum(1) - there)).clamp(min=0)
    moved = torch.zeros_like(start).scatter_(1, order, torch.minimum(there, used))
    return (moved * steep.sign()).view_as(g)


def movable(g: Tensor, x: Tensor) -> Tensor:
    """The gradient without the values that a step along it would push out of [0,1]."""
    return g.masked_fill(((x <= 0) & (g < 0)) | ((x >= 1) & (g > 0)), 0)


def _linf_ball(x: Tensor, eps: float | Tensor) -> Projection:
    """Ball and pixel range are both boxes, so one clamp does both."""
    low, high = box(x, eps)
    return lambda z: z.clamp(low, high)


def box(x: Tensor, eps: float | Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest images [N,...] in [0,1] that are not farther than eps from images, value by value.

    Rounded towards the images: the distance, measured exactly or in the images' precision, is never above eps.
    """
    size = _size(eps, x)
    if not isinstance(size, Tensor):  # the largest number of this precision that is not above eps
        near = torch.tensor(size, dtype=x.dtype)
        size = float(near if float(near) <= size else torch.nextafter(near, torch.zeros_like(near)))
    exact, low, high = x.double(), (x - size).clamp_(min=0), (x + size).clamp_(max=1)
    low = torch.where(exact - low.double() > size, torch.nextafter(low, x), low)
    high = torch.where(high.double() - exact > size, torch.nextafter(high, x), high)
    return low, high


def _l2_ball(x: Tensor, eps: float | Tensor) -> Projection:
    """Shrinks the perturbation, then clips: clipping moves values towards x, so it never leaves the ball."""

    def project(z: Tensor) -> Tensor:
        d = z - x
        shrink: Tensor = (eps * LESS / _l2(d).clamp(min=TINY)).clamp(max=1)
        inside: Tensor = (x + d * per_row(shrink, d)).clamp_(0, 1)
        return inside

    return project


def _l1_ball(x: Tensor, eps: float | Tensor) -> Projection:
    """The nearest point in ball and pixel range at once: every value shrinks by the same amount, then is clipped.

    That amount is found exactly: the L1 norm that is left falls piecewise linearly with it.

    Source: Croce and Hein 2021 (Mind the Box), proposition 2.1.
    """

    def project(z: Tensor) -> Tensor:
        d = (z - x).flatten(1)
        size, start = d.abs(), x.flatten(1)
        room = torch.where(d > 0, 1 - start, start)
        ends = torch.cat([size, (size - room).clamp(min=0)], 1)
        turns = torch.cat([torch.ones_like(size), -torch.ones_like(size)], 1)
        ends, order = ends.sort(dim=1, descending=True)
        slope = turns.gather(1, order).cumsum(1)
        lower = torch.cat([ends[:, 1:], torch.zeros_like(ends[:, :1])], 1)
        left = (slope * (ends - lower)).cumsum(1)  # L1 norm once all values shrink by `lower`
        radius = torch.as_tensor(eps * LESS, dtype=d.dtype, device=d.device).expand(len(d)).unsqueeze(1)
        at = (left < radius).sum(1, keepdim=True).clamp(max=ends.shape[1] - 1)
        beyond = (left.gather(1, at) - radius).clamp(min=0)
        shrink = lower.gather(1, at) + beyond / slope.gather(1, at).clamp(min=1)
        shrunk = torch.minimum((size - shrink).clamp(min=0), room) * d.sign()
        return (x + shrunk.view_as(x)).clamp_(0, 1)

    return project


def _l1_sample(rng: torch.Generator, like: Tensor, rows: int = 1) -> Tensor:
    u = draw(rng, like, rows=rows)
    size = -u.abs().clamp(min=TINY).log()
    radius = torch.rand(rows, generator=rng).to(like) ** (1 / u[0].numel())
    return u.sign() * size * per_row(radius / size.flatten(1).sum(1), u)


def _l2_sample(rng: torch.Generator, like: Tensor, rows: int = 1) -> Tensor:
    direction = draw(rng, like, normal=True, rows=rows)
    radius = torch.rand(rows, generator=rng).to(like) ** (1 / direction[0].numel())
    return direction * per_row(radius / _l2(direction), direction)


def draw(rng: torch.Generator, like: Tensor, *, normal: bool = False, rows: int = 1) -> Tensor:
    """Random numbers [rows,C,H,W] for images [N,C,H,W]: uniform in [-1,1], or standard normal.

    An attack uses one draw for all images, and the generator lives on the CPU: each image is attacked as if it were
    alone, so its result depends neither on the batch around it nor on the device.
    """
    shape = (rows, *like.shape[1:])
    numbers = torch.randn(shape, generator=rng) if normal else torch.rand(shape, generator=rng) * 2 - 1
    return numbers.to(like)


NORMS: Mapping[str, Norm] = {
    "linf": Norm(
        length=_largest,
        steepest=_signs,
        ball=_linf_ball,
        dual=_l1,
        sample=lambda rng, like, rows=1: draw(rng, like, rows=rows),
    ),
    "l2": Norm(
        length=_l2,
        steepest=_unit,
        ball=_l2_ball,
        dual=_l2,
        sample=_l2_sample,
    ),
    "l1": Norm(
        length=_l1,
        steepest=_sparse,
        ball=_l1_ball,
        dual=_largest,
        sample=_l1_sample,
    ),
}


RANGES: Mapping[str, Bounds] = {"linf": (0, 1), "l2": (0, 100), "l1": (0, 10_000)}
"""How large a perturbation an attack may be given, by norm."""


def eps_field(*norms: str) -> Any:
    """The field `eps` of an attack that is bounded in a choice of norms, its field `norm`."""
    lengths = " and ".join(norm.upper() for norm in norms if norm != "linf")
    return param(
        8 / 255,
        bounds={norm: RANGES[norm] for norm in norms},
        bounds_by="norm",
        unit="(pixels lie in [0,1])",
        pixels=True,
        help="Largest perturbation: at 4/255 each value of 0 to 255 may change by at most 4; "
        f"in {lengths}, its length.",
    )


def alpha_field(automatic: str, *norms: str) -> Any:
    """The field `alpha` of such an attack; `automatic` says what it is when it is not given."""
    return param(
        None,
        bounds={norm: RANGES[norm] for norm in norms},
        bounds_by="norm",
        unit="(pixels lie in [0,1])",
        pixels=True,
        advanced=True,
        help=f"Size of one step. Automatic: {automatic}.",
    )


LENGTHS: Mapping[str, Callable[[Tensor], Tensor]] = {
    **{name: norm.length for name, norm in NORMS.items()},
    "l0": lambda d: torch.linalg.vector_norm(d.flatten(1), 0, dim=1),
}
"""Every measure of a perturbation [N,...] -> [N]: the norms, and the number of values that changed."""


def distances(x: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """How far images [N,...] are from the clean ones, each [N].

    "linf" is the largest change of a value, "l2" the Euclidean length, "l1" the sum of the changes, "l0" the number of
    values that changed.
    """
    d = x.double() - clean.double()
    found = {name: length(d).to(x.dtype) for name, length in LENGTHS.items()}
    return {**found, "l0": found["l0"].to(torch.int64)}


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
