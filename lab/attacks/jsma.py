"""JSMA: changes a few values only, two at a time, chosen by a saliency map of the Jacobian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.aim import as_targeted
from lab.attacks.gradient import derivative
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import Goal, Iterate, Model, Paper, Steps


@dataclass(frozen=True)
class JSMA:
    """Moves, at every step, the pair of values that raises the probability of the target class the most.

    A value is a pixel in one colour channel. The change it may undergo is theta, once or until its range ends.

    Source: Papernot et al. 2016 (The Limitations of Deep Learning in Adversarial Settings), algorithm 3 and equation 8.
        The probabilities of all classes add up to 1, so what raises the target's lowers the others' by as much: the
        best pair is that of the two largest derivatives, and no search over pairs is needed. The derivative is taken of
        the log-odds, which orders the values alike and does not vanish where the model is certain.
    Deviation: without a target, the class aimed at is the one that comes next on the clean image. `direction` both is
        Wiyatno and Xu's (2018): each value moves the way its own derivative points.
    """

    theta: float = param(1.0, bounds=(0.01, 1), unit="(pixels lie in [0,1])", help="Change of a value at one step.")
    gamma: float = param(0.145, bounds=(0.001, 1), unit="of the image", help="Share of the values that may change.")
    direction: Literal["increase", "decrease", "both"] = param(
        "increase", help="Whether values may become brighter, darker, or either."
    )

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields an iterate a step, all but the last with their logits; drops the rows that the driver is done with."""
        budget = self._budget(x)
        changed = torch.zeros_like(x, dtype=torch.bool).flatten(1)
        aim: Goal | None = None
        for _ in range(self.longest(x)):
            inputs = x.detach().requires_grad_()
            with torch.enable_grad():
                logits = model(inputs)
                aim = aim or as_targeted(goal, logits.detach())
                slope = derivative(_log_odds(logits, aim.labels).sum(), inputs).flatten(1)
            rows = yield Iterate(x, logits.detach())
            if rows is not None:
                x, changed, aim, slope = x[rows], changed[rows], aim.rows(rows), slope[rows]
            step = self._step(x.flatten(1), slope, changed, budget)
            if not step.any():
                return
            changed |= step != 0
            x = (x + step.view_as(x)).clamp(0, 1)
        yield Iterate(x)

    def longest(self, x: Tensor) -> int:
        """How many steps it takes at most."""
        return math.ceil(self._budget(x) / 2) * math.ceil(1 / self.theta)

    def _budget(self, x: Tensor) -> int:
        """How many values of each image may change."""
        return max(2, int(self.gamma * x[0].numel()))

    def _step(self, x: Tensor, slope: Tensor, changed: Tensor, budget: int) -> Tensor:
        """The change [N,D] of the best pair of each image; zero where no pair helps."""
        way = slope.sign()
        if self.direction != "both":
            way = torch.full_like(x, 1.0 if self.direction == "increase" else -1.0)
        usable = torch.where(way > 0, x < 1, x > 0)
        usable &= changed | (changed.sum(1, keepdim=True) + 2 <= budget)
        gain, pair = (slope * way).masked_fill(~usable, -torch.inf).topk(2, dim=1)
        step = torch.zeros_like(x).scatter_(1, pair, self.theta)
        return step * way * (gain.sum(1, keepdim=True) > 0)


PAPER = Paper(
    "The Limitations of Deep Learning in Adversarial Settings",
    "Papernot, McDaniel, Jha, Fredrikson, Celik, Swami",
    2016,
    "1511.07528",
)
SPEC = Spec(
    key="jsma",
    name="JSMA",
    summary="Changes a few values completely, two at a time, chosen by how they move every class.",
    formula=r"(p, q) = \arg\max_{p, q}\; -\left(\sum_{i \in \{p, q\}} \frac{\partial F_t}{\partial x_i}\right)"
    r"\left(\sum_{i \in \{p, q\}} \sum_{k \ne t} \frac{\partial F_k}{\partial x_i}\right),"
    r"\quad F = \mathrm{softmax}(f)",
    papers=(PAPER,),
    make=JSMA,
    until_reached=True,
    norm="l0",
    symbols={
        "p": "one value of the picture",
        "q": "another one; both are changed together",
        "t": "the class to be reached",
        "i": "either of the two",
        "F": "the probabilities, the softmax of the logits",
    },
)


def _log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """log(p / (1 - p)) of a class [N]."""
    own = labels.unsqueeze(1)
    others = logits.scatter(1, own, float("-inf")).logsumexp(1)
    return logits.gather(1, own).squeeze(1) - others
