"""FMN: a fast minimum-norm attack, for L-infinity, L2 and L1."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.gradient import input_gradient
from lab.attacks.norms import NORMS, movable
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import TINY, Goal, Iterate, Model, Paper, Steps


@dataclass(frozen=True)
class FMN:
    """Follows the margin's gradient in a ball that shrinks while the image is fooled and grows while it is not.

    No weight between size and loss has to be searched, so that a hundred steps find what Carlini-Wagner needs several
    hundred for.

    Source: Pintor et al. 2021, algorithm 1.
    Deviation: values that a step would push out of the pixel range are left out of it, and of the distance to the
        boundary; else images with black ground stall before they are fooled. The first ball reaches a little beyond the
        boundary, not just to it, where rounding would decide.
    """

    steps: int = param(100, bounds=(1, 10_000), help="How many times the gradient is followed.")
    norm: Literal["l2", "linf", "l1"] = param("l2", help="The norm that is kept small.")
    alpha: float = param(
        1.0, bounds=(1e-3, 100), advanced=True, help="Length (L2) of the first step; the last is a hundredth of it."
    )
    gamma: float = param(
        0.05, bounds=(1e-4, 0.9), advanced=True, help="Share by which the ball grows or shrinks; it falls to a 500th."
    )

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields steps + 1 iterates, all but the last with their logits; before a given start, the clean images."""
        norm, clean = NORMS[self.norm], x
        if self.start is not None:
            yield Iterate(clean)
            x = self.start
        radius = shortest = torch.full((len(x),), math.inf, dtype=x.dtype, device=x.device)
        for step in range(self.steps):
            logits, g = input_gradient(model, x, goal.margin)
            yield Iterate(x, logits)
            way = movable(-g, x)
            margin, length = goal.margin(logits), norm.length(x - clean)
            fooled = margin < 0
            shortest = torch.where(fooled, torch.minimum(shortest, length), shortest)
            gamma, alpha = _fallen(self.gamma, 500, step, self.steps), _fallen(self.alpha, 100, step, self.steps)
            boundary = length + (1 + gamma) * margin.abs() / norm.dual(way).clamp(min=TINY)  # if it were linear
            outwards = torch.where(shortest.isinf(), boundary, radius * (1 + gamma))
            radius = torch.where(fooled, torch.minimum(radius * (1 - gamma), shortest), outwards)
            x = norm.ball(clean, radius)(x + alpha * NORMS["l2"].steepest(way))
        yield Iterate(x)


PAPER = Paper(
    "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints",
    "Pintor, Roli, Brendel, Biggio",
    2021,
    "2102.12827",
)
SPEC = Spec(
    key="fmn",
    name="FMN",
    summary="Follows the gradient in a ball that shrinks while the image is fooled: a yardstick for distances.",
    formula=r"x_{t+1} = \Pi_{\epsilon_t}\left(x_t "
    r"- \alpha_t\,\frac{\nabla m(x_t)}{\lVert\nabla m(x_t)\rVert_2}\right),\quad "
    r"\epsilon_{t+1} = \epsilon_t\,(1 \mp \gamma_t),\quad m = f_y - \max_{k \ne y} f_k",
    papers=(PAPER,),
    make=FMN,
    keep="closest",
    symbols={
        "m": "the margin: what still separates the picture from the goal",
        "gamma": "how fast the size allowed shrinks or grows",
    },
)


def _fallen(first: float, share: float, step: int, steps: int) -> float:
    """A value that falls along a cosine from the first one to its share."""
    last = first / share
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
