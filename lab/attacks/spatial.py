"""Rotations and shifts that fool a model, tried one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lab.attacks.norms import per_row
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import Access, Goal, Iterate, Model, Paper, Steps

Place = tuple[float, float, float]
"""A rotation in degrees, clockwise, and shifts right and down as shares of the image's width and height."""


def moved(x: Tensor, place: Place) -> Tensor:
    """Images [N,C,H,W] turned about their middle, then shifted; bilinear, and black where nothing is known."""
    degrees, right, down = place
    height, width = x.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # where each point of the new image comes from, in coordinates that run from -1 to 1 along both sides
    back = torch.tensor([[cos, sin * height / width, 0.0], [-sin * width / height, cos, 0.0]], dtype=torch.float64)
    back[:, 2] = -back[:, :2] @ torch.tensor([2 * right, 2 * down], dtype=torch.float64)
    grid = F.affine_grid(back.to(x).expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False).clamp_(0, 1)


@dataclass(frozen=True)
class Spatial:
    """Tries rotations and shifts of the image and keeps the one that is worst for the model.

    The grid is tried from the smallest movement to the largest, so an attack that ends at its first success has found
    the smallest of the grid. Every try is one query.

    Source: Engstrom et al. 2019, section 3: grid search, and worst of k random choices.
    Deviation: the worst is told by the margin, where the paper takes the loss. The movement of nothing is left out.
    """

    search: Literal["random", "grid"] = param("random", help="Which movements are tried.")
    steps: int = param(10, bounds=(1, 10_000), unit="tries", help="Random search: how many movements are tried.")
    angle: float = param(30.0, bounds=(0, 180), unit="degrees", help="Largest rotation, either way.")
    shift: float = param(0.1, bounds=(0, 0.5), unit="of the image's side", help="Largest shift, either way.")
    angles: int = param(31, bounds=(1, 361), advanced=True, help="Grid: how many rotations.")
    shifts: int = param(5, bounds=(1, 51), advanced=True, help="Grid: how many shifts along each side.")

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields the clean images, then the worst so far after every try, with their logits."""
        clean, best = x, x
        logits: Tensor | None = None
        margin = torch.full((len(x),), math.inf, dtype=x.dtype, device=x.device)
        for place in self.places(rng):
            rows = yield Iterate(best, logits)
            if rows is not None:
                clean, best, margin, goal = clean[rows], best[rows], margin[rows], goal.rows(rows)
                logits = None if logits is None else logits[rows]
            tried = moved(clean, place)
            answers = model(tried)
            margins = goal.margin(answers)
            worse = margins < margin
            best = torch.where(per_row(worse, tried), tried, best)
            logits = answers if logits is None else torch.where(worse.unsqueeze(1), answers, logits)
            margin = torch.minimum(margins, margin)
        yield Iterate(best, logits)

    def places(self, rng: torch.Generator) -> Iterator[Place]:
        """The movements in the order in which they are tried."""
        ends = (self.angle, self.shift, self.shift)
        if self.search == "random":
            for _ in range(self.steps):
                turn, right, down = ((2 * torch.rand(3, generator=rng) - 1) * torch.tensor(ends)).tolist()
                yield turn, right, down
            return
        angles, shifts = _ticks(self.angles), _ticks(self.shifts)
        shares = [(a, r, d) for a in angles for r in shifts for d in shifts if (a, r, d) != (0, 0, 0)]
        for a, r, d in sorted(shares, key=lambda place: math.hypot(*place)):
            yield a * ends[0], r * ends[1], d * ends[2]


PAPER = Paper(
    "Exploring the Landscape of Spatial Robustness",
    "Engstrom, Tran, Tsipras, Schmidt, Madry",
    2019,
    "1712.02779",
)
SPEC = Spec(
    key="spatial",
    name="Rotation and shift",
    summary="Turns and shifts the picture, and keeps the movement that is worst for the model.",
    formula=r"\min_{\theta, a, b}\; f_y(x') - \max_{k \ne y} f_k(x'),\quad x' = R_\theta(x)\ "
    r"\text{shifted by } (a, b)",
    papers=(PAPER,),
    make=Spatial,
    access=Access.SCORES,
    until_reached=True,
    norm="l2",
    symbols={
        "R": "the picture turned about its middle",
        "theta": "the angle",
        "a": "how far right",
        "b": "how far down",
    },
)


def _ticks(count: int) -> list[float]:
    """Evenly spaced numbers from -1 to 1; 0 where there is one only."""
    return [2 * i / (count - 1) - 1 for i in range(count)] if count > 1 else [0.0]
