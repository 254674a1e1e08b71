"""Square attack: random search with squares of +-eps, by scores only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import EllipsisType

import torch
from torch import Tensor

from lab.attacks.norms import box, per_row
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import Access, Goal, Iterate, Model, Paper, Steps

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The steps, out of 10,000, after which the squares' area halves."""
CROWD = 0.2
"""Share of the image that the squares tried at once may cover, so that they hardly overlap."""

Window = tuple[EllipsisType | slice, ...]


@dataclass(frozen=True)
class Square:
    """Tries random squares of a colour at +-eps, and keeps each that brings an image nearer to its goal.

    Squares shrink as the search goes on. Every try is one query; no gradient is asked for. The squares are the same for
    all images of a batch, so that each is attacked as if it were alone.

    Source: Andriushchenko et al. 2020, algorithms 1 and 2 (L-infinity).
    Deviation: targeted attacks lower the margin to the target too, where the authors use the cross-entropy. Small
        squares are tried several at once, which is faster: then, if two or more of them helped, all of those together,
        else one more square on top of the best. With `together` at 1 each is tried after the other, as in the paper.
    """

    eps: float = param(
        8 / 255,
        bounds=(0, 1),
        unit="(pixels lie in [0,1])",
        pixels=True,
        help="Largest change of any value.",
    )
    steps: int = param(1000, bounds=(1, 100_000), unit="queries", help="How many squares are tried on each image.")
    area: float = param(
        0.8,
        bounds=(0.001, 1),
        unit="of the image",
        advanced=True,
        help="Share of the image that the first squares cover.",
    )
    together: int = param(
        16, bounds=(1, 64), unit="squares", advanced=True, help="At most so many small squares are tried at once."
    )

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields the best images so far, with their logits, after every query or group of queries."""
        low, high = box(x, self.eps)
        stripes = torch.where(_coins(rng, x, 1, x.shape[1], 1, x.shape[3]), high, low)
        best = stripes if self.start is None else self.start.clamp(low, high)
        rows = yield Iterate(x)
        if rows is not None:
            low, high, best, goal = low[rows], high[rows], best[rows], goal.rows(rows)
        logits = model(best)
        margin = goal.margin(logits)
        for group in self._groups(rng, x):
            rows = yield Iterate(best, logits)
            if rows is not None:
                low, high, best = low[rows], high[rows], best[rows]
                logits, margin, goal = logits[rows], margin[rows], goal.rows(rows)
            base, several = best, group[:-1] or group
            tried = [_painted(base, low, high, window, bright) for window, bright in several]
            answers = model(torch.cat(tried)).chunk(len(tried))
            margins = [goal.margin(a) for a in answers]
            helps = [m < margin for m in margins]
            for found in zip(tried, answers, margins, strict=True):
                best, logits, margin = _better((best, logits, margin), found)
            if group is several:
                continue
            union = base.clone()
            for (window, _), painted, helped in zip(several, tried, helps, strict=True):
                union[window] = torch.where(per_row(helped, base), painted[window], union[window])
            many = per_row(torch.stack(helps).sum(0) > 1, base)
            last = torch.where(many, union, _painted(best, low, high, *group[-1]))
            answer = model(last)
            best, logits, margin = _better((best, logits, margin), (last, answer, goal.margin(answer)))
        yield Iterate(best, logits)

    def _groups(self, rng: torch.Generator, x: Tensor) -> Iterator[list[tuple[Window, Tensor]]]:
        """The squares to be tried at once, as (where, in which channels it is bright [C,1,1]); one query for each.

        The stripes were the first query, so there are steps-1 squares in all.
        """
        channels, height, width = x.shape[1:]
        places = torch.rand(self.steps - 1, 2, generator=rng).tolist()
        coins = _coins(rng, x, self.steps - 1, channels, 1, 1)
        group: list[tuple[Window, Tensor]] = []
        for step, (down, across) in enumerate(places):
            side = self._side(step, height, width)
            top, left = int(down * (height - side + 1)), int(across * (width - side + 1))
            group.append(((..., slice(top, top + side), slice(left, left + side)), coins[step]))
            if len(group) >= min(self.together, CROWD * height * width / side**2) or step + 1 == len(places):
                yield group
                group = []

    def _side(self, step: int, height: int, width: int) -> int:
        """The side of the square at a step, in pixels."""
        progress = step * 10_000 // self.steps
        share = self.area / 2 ** sum(progress > h for h in HALVINGS)
        return max(1, min(round(math.sqrt(share * height * width)), height - 1, width - 1))


PAPER = Paper(
    "Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random Search",
    "Andriushchenko, Croce, Flammarion, Hein",
    2020,
    "1912.00049",
)
SPEC = Spec(
    key="square",
    name="Square",
    summary="Random search with squares of plus or minus epsilon, by the model's scores alone.",
    formula=r"x_{t+1} = \arg\min_{x' \in \{x_t,\; x_t \oplus \text{square}\}} f_y(x') - \max_{k \ne y} f_k(x')",
    papers=(PAPER,),
    make=Square,
    access=Access.SCORES,
    until_reached=True,
)


def _coins(rng: torch.Generator, like: Tensor, *shape: int) -> Tensor:
    """Fair coins of this shape, as booleans on the device of `like`."""
    return torch.randint(0, 2, shape, generator=rng).to(like.device, torch.bool)


def _painted(x: Tensor, low: Tensor, high: Tensor, window: Window, bright: Tensor) -> Tensor:
    """Images with a square at the ends of their range; in the opposite colours where it would change nothing."""
    x, here = x.clone(), x[window]
    square = torch.where(bright, high[window], low[window])
    idle = (square == here).flatten(1).all(1)
    x[window] = torch.where(per_row(idle, here), torch.where(bright, low[window], high[window]), square)
    return x


def _better(old: tuple[Tensor, Tensor, Tensor], new: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The better of two lots of (images, logits, margins), row by row: the one with the lower margin."""
    gain = new[2] < old[2]
    return (
        torch.where(per_row(gain, old[0]), new[0], old[0]),
        torch.where(gain[:, None], new[1], old[1]),
        torch.minimum(new[2], old[2]),
    )
