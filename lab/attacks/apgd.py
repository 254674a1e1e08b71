"""APGD: projected gradient ascent that chooses its own step size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.aim import rival
from lab.attacks.gradient import input_gradient, loss_gradient
from lab.attacks.norms import NORMS, eps_field, per_row
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import TINY, Goal, Iterate, Model, Paper, Steps

RISES = 0.75
"""The step of an image is halved where the loss rose in less than this share of the steps since the last look."""
INERTIA = 0.75
"""The share of a step that is new; the rest repeats the last one."""


def dlr(goal: Goal, other: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """The difference of logits ratio [N], to be ascended: the margin as a share of how far apart the logits are.

    Neither shifting nor scaling the logits changes it, so that no model can hide its gradient in large logits.

    Args:
        goal: labels to leave, or targets to reach.
        other: for labels to leave, the class [N] that is to take over; None for whichever is next.

    Source: Croce and Hein 2020 (AutoAttack), equations 6 and 7.
    Deviation: models with fewer classes than the ratio needs (3, or 4 with a class to take over) get the plain margin.
    """

    def loss(logits: Tensor) -> Tensor:
        if other is None or goal.targeted:
            margin = goal.margin(logits)
        else:
            margin = (logits.gather(1, goal.labels.unsqueeze(1)) - logits.gather(1, other.unsqueeze(1))).squeeze(1)
        aimed = goal.targeted or other is not None
        if logits.shape[1] < (4 if aimed else 3):
            return -margin
        top = logits.topk(4 if aimed else 3, dim=1).values
        spread = top[:, 0] - ((top[:, 2] + top[:, 3]) / 2 if aimed else top[:, 2])
        return -margin / spread.clamp(min=TINY)

    return loss


@dataclass(frozen=True)
class APGD:
    """PGD with momentum whose step halves, image by image, when the loss stops rising; it then goes on from the best.

    Source: Croce and Hein 2020 (AutoAttack), algorithm 1.
    """

    eps: float = eps_field("linf", "l2")
    steps: int = param(100, bounds=(1, 10_000), help="How many times the gradient is followed.")
    norm: Literal["linf", "l2"] = param("linf", help="How the size of the perturbation is measured.")
    loss: Literal["ce", "dlr"] = param("ce", help="What is ascended: cross-entropy, or the difference of logits ratio.")
    rival: int = param(
        0, bounds=(0, 1000), advanced=True, help="The class to take over: 1 for the next on the clean image; 0 for any."
    )

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields steps + 1 iterates; all carry their logits. Drops the rows that the driver is done with."""
        norm, clean = NORMS[self.norm], x
        other = None
        if self.rival and not goal.targeted:
            with torch.no_grad():
                other = rival(model(x), goal, self.rival)
        start = norm.sample(rng, x)
        ahead = x + self.eps * start / per_row(norm.length(start), x) if self.start is None else self.start
        x = norm.ball(clean, self.eps)(ahead)
        logits, value, g = self._look(model, x, goal, other)
        before, seen, size = x, x, torch.full((len(x),), 2 * self.eps, dtype=x.dtype, device=x.device)
        best = _Best(x, g, value)
        rose, reference = torch.zeros_like(value), value
        halved = torch.ones_like(value, dtype=torch.bool)
        period, since = max(1, int(0.22 * self.steps)), 0
        for step in range(self.steps):
            rows = yield Iterate(seen, logits)
            if rows is not None:
                clean, x, before, g, goal = clean[rows], x[rows], before[rows], g[rows], goal.rows(rows)
                size, rose, reference, halved, value = (t[rows] for t in (size, rose, reference, halved, value))
                other, best = None if other is None else other[rows], best.rows(rows)
            project = norm.ball(clean, self.eps)
            ahead = project(x + per_row(size, x) * norm.steepest(g))
            if step:
                ahead = project(x + INERTIA * (ahead - x) + (1 - INERTIA) * (x - before))
            before, x, seen, last = x, ahead, ahead, value
            logits, value, g = self._look(model, x, goal, other)
            rose = rose + (value > last)
            best = best.against(x, g, value)
            since += 1
            if since == period:
                stuck = (rose < RISES * since) | (~halved & (best.value <= reference))
                size = torch.where(stuck, size / 2, size)
                x, g = _pick(stuck, best.x, x), _pick(stuck, best.g, g)
                rose, reference, halved, since = torch.zeros_like(rose), best.value, stuck, 0
                period = max(period - max(1, int(0.03 * self.steps)), max(1, int(0.06 * self.steps)))
        yield Iterate(seen, logits)

    def _look(self, model: Model, x: Tensor, goal: Goal, other: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, loss and its gradient at x."""
        if self.loss == "ce" and other is None:
            return loss_gradient(model, x, goal)
        loss = dlr(goal, other)
        logits, g = input_gradient(model, x, loss)
        return logits, loss(logits), g


PAPER = Paper(
    "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks",
    "Croce, Hein",
    2020,
    "2003.01690",
)
SPEC = Spec(
    key="apgd",
    name="APGD",
    summary="PGD with momentum that halves its step, image by image, when the loss stops rising.",
    formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \tfrac34\,(z_{t+1} - x_t) + \tfrac14\,(x_t - x_{t-1})\right),"
    r"\quad z_{t+1} = \Pi_\epsilon\left(x_t + \eta_t\,\step{\nabla_x J(x_t, y)}\right)",
    papers=(PAPER,),
    make=APGD,
    until_reached=True,
    symbols={
        "z": "the picture one plain step on",
        "eta": "the step size, halved where the loss has stopped rising",
    },
)


@dataclass(frozen=True)
class _Best:
    """For each image the iterate of the highest loss."""

    x: Tensor
    g: Tensor
    value: Tensor

    def rows(self, index: Tensor) -> _Best:
        return _Best(self.x[index], self.g[index], self.value[index])

    def against(self, x: Tensor, g: Tensor, value: Tensor) -> _Best:
        higher = value > self.value
        return _Best(_pick(higher, x, self.x), _pick(higher, g, self.g), torch.where(higher, value, self.value))


def _pick(where: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(per_row(where, a), a, b)
