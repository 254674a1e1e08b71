"""Square attack: random search with squares of +-eps, by scores only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.params import param
from lab.types import Goal, Iterate, Model, Steps

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 steps, those after which the squares' area halves."""


@dataclass(frozen=True)
class Square:
    """Tries random squares of a colour at +-eps, and keeps each that brings an image nearer to its goal.

    Squares shrink as the search goes on. Every try is one query; no gradient is asked for. The squares are the same for
    all images of a batch, so that each is attacked as if it were alone.

    Source: Andriushchenko et al. 2020, algorithms 1 and 2 (L-infinity).
    Deviation: targeted attacks lower the margin to the target too, where the authors use the cross-entropy.
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

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields the best images so far after every query, with their logits."""
        low, high = (x - self.eps).clamp_(min=0), (x + self.eps).clamp_(max=1)
        height, width = x.shape[-2:]
        stripes = torch.randint(0, 2, (1, x.shape[1], 1, width), generator=rng).to(x) * 2 - 1
        best = (x + self.eps * stripes).clamp(low, high)
        rows = yield Iterate(x)
        if rows is not None:
            x, low, high, best, goal = x[rows], low[rows], high[rows], best[rows], goal.rows(rows)
        logits = model(best)
        margin = goal.margin(logits)
        for step in range(self.steps):
            rows = yield Iterate(best, logits)
            if rows is not None:
                x, low, high, best = x[rows], low[rows], high[rows], best[rows]
                logits, margin, goal = logits[rows], margin[rows], goal.rows(rows)
            if step + 1 == self.steps:
                return
            side = self._side(step, height, width)
            top, left = (int(torch.randint(0, n - side + 1, (1,), generator=rng)) for n in (height, width))
            colour = torch.randint(0, 2, (1, x.shape[1], 1, 1), generator=rng).to(x) * 2 - 1
            window = (..., slice(top, top + side), slice(left, left + side))
            tried = best.clone()
            tried[window] = (x[window] + self.eps * colour).clamp(low[window], high[window])
            answers = model(tried)
            margins = goal.margin(answers)
            better = margins < margin
            best = torch.where(better.view(-1, 1, 1, 1), tried, best)
            logits = torch.where(better.unsqueeze(1), answers, logits)
            margin = torch.minimum(margins, margin)

    def _side(self, step: int, height: int, width: int) -> int:
        """The side of the square at a step, in pixels."""
        progress = step * 10_000 // self.steps
        share = self.area / 2 ** sum(progress > h for h in HALVINGS)
        return max(1, min(round(math.sqrt(share * height * width)), height - 1, width - 1))
