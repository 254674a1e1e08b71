"""JSMA: changes a few values only, two at a time, chosen by a saliency map of the Jacobian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.gradient import derivative
from lab.attacks.optimise import as_targeted
from lab.params import param
from lab.types import Goal, Iterate, Model, Steps

CANDIDATES = 128
"""Pairs are sought among this many of the most salient values of each image."""


@dataclass(frozen=True)
class JSMA:
    """Moves, at every step, the pair of values that raises the target class and lowers all others the most.

    A value is a pixel in one colour channel. The change it may undergo is theta, once or until its range ends.

    Source: Papernot et al. 2016 (The Limitations of Deep Learning in Adversarial Settings), algorithm 3 and equation 8.
    Deviation: the pair is sought among the 128 values that are most salient by themselves, not among all pairs. Without
        a target, the class aimed at is the one that comes next on the clean image. `direction` both is Wiyatno and Xu's
        (2018): each value moves the way its own saliency points.
    """

    theta: float = param(1.0, bounds=(0.01, 1), unit="(pixels lie in [0,1])", help="Change of a value at one step.")
    gamma: float = param(0.145, bounds=(0.001, 1), unit="of the image", help="Share of the values that may change.")
    direction: Literal["increase", "decrease", "both"] = param(
        "increase", help="Whether values may become brighter, darker, or either."
    )

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields an iterate a step, all but the last with their logits; drops the rows that the driver is done with."""
        budget = max(2, int(self.gamma * x[0].numel()))
        changed = torch.zeros_like(x, dtype=torch.bool).flatten(1)
        aim: Goal | None = None
        for _ in range(math.ceil(budget / 2) * math.ceil(1 / self.theta)):
            inputs = x.detach().requires_grad_()
            with torch.enable_grad():
                logits = model(inputs)
            aim = aim or as_targeted(goal, logits.detach())
            own = aim.labels.unsqueeze(1)
            towards = derivative(logits.gather(1, own).sum(), inputs, keep=True).flatten(1)
            others = derivative(logits.sum(), inputs).flatten(1) - towards
            rows = yield Iterate(x, logits.detach())
            if rows is not None:
                x, changed, aim = x[rows], changed[rows], aim.rows(rows)
                towards, others = towards[rows], others[rows]
            step = self._step(x.flatten(1), towards, others, changed, budget)
            if not step.any():
                return
            changed |= step != 0
            x = (x + step.view_as(x)).clamp(0, 1)
        yield Iterate(x)

    def _step(self, x: Tensor, towards: Tensor, others: Tensor, changed: Tensor, budget: int) -> Tensor:
        """The change [N,D] of the best pair of each image; zero where no pair helps."""
        way = (towards - others).sign()
        if self.direction != "both":
            way = torch.full_like(x, 1.0 if self.direction == "increase" else -1.0)
        a, b = towards * way, others * way
        open_ = torch.where(way > 0, x < 1, x > 0)
        open_ &= changed | (changed.sum(1, keepdim=True) + 2 <= budget)
        k = min(CANDIDATES, x.shape[1])
        places = (a - b).masked_fill(~open_, -torch.inf).topk(k, dim=1).indices
        a, b, usable = a.gather(1, places), b.gather(1, places), open_.gather(1, places)
        raised = a.unsqueeze(2) + a.unsqueeze(1)
        lowered = b.unsqueeze(2) + b.unsqueeze(1)
        fits = (raised > 0) & (lowered < 0) & usable.unsqueeze(2) & usable.unsqueeze(1)
        fits &= ~torch.eye(k, dtype=torch.bool, device=x.device)
        saliency = torch.where(fits, -raised * lowered, 0).flatten(1)
        best, pair = saliency.max(dim=1)
        chosen = torch.stack([places.gather(1, pair.unsqueeze(1) // k), places.gather(1, pair.unsqueeze(1) % k)], 1)
        step = torch.zeros_like(x).scatter_(1, chosen.flatten(1), self.theta)
        return step * way * (best > 0).unsqueeze(1)
