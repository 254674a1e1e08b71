"""L-BFGS: the smallest perturbation as the minimum of its size plus a weighted loss, by a quasi-Newton search."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lab.answers import Answer
from lab.attacks.aim import as_targeted
from lab.attacks.gradient import derivative
from lab.attacks.norms import movable, per_row
from lab.attacks.spec import Spec
from lab.attacks.weights import Weights
from lab.params import param
from lab.types import TINY, Goal, Iterate, Model, Paper, Steps


@dataclass(frozen=True)
class LBFGS:
    """Minimises the squared L2 length of the perturbation plus a weighted loss by L-BFGS within the pixel range.

    Each image has its own curvature, step size and search for the weight; only the forwards and backwards are shared.
    A step that does not lower an image's objective enough is halved at its next evaluation.

    Source: Szegedy et al. 2013, section 4.1; L-BFGS: Nocedal and Wright, algorithm 7.4; the bounds by projection, with
        pixels at a bound left out of the step (Bertsekas 1982).
    Deviation: the weight stands at the loss and the length is squared, as in the public libraries, so that the smallest
        weight is searched. Without a target, the class aimed at is the one that comes next on the clean image.
    """

    steps: int = param(60, bounds=(1, 10_000), help="Evaluations of model and gradient for each weight.")
    searches: int = param(8, bounds=(1, 20), help="How many weights between size and loss are tried for each image.")
    weight: float = param(1.0, bounds=(1e-6, 1e6), advanced=True, help="The first weight of the loss.")
    memory: int = param(10, bounds=(1, 100), advanced=True, help="How many past steps shape the next one.")

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields searches * steps + 1 iterates, each with its logits; before a given start, the clean images."""
        first = x
        if self.start is not None:
            with torch.no_grad():
                logits = model(x)
            yield Iterate(x, logits)
            goal, first = as_targeted(goal, logits), self.start
        inputs = first.detach().requires_grad_()
        with torch.enable_grad():
            answer = Answer.of(model, inputs)
            goal = as_targeted(goal, answer.logits)
            loss = answer.loss(goal)
            slope = derivative(loss.sum(), inputs)
        loss = loss.detach()
        yield Iterate(first, answer.logits.detach())
        weights = Weights.start(self.weight, x)
        for _ in range(self.searches):
            fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            size, way = (first - x).flatten(1).square().sum(1), 2 * (first - x)
            descent = _Descent(first, size - weights.value * loss, way - per_row(weights.value, x) * slope, self.memory)
            for _ in range(self.steps):
                z = descent.next.detach().requires_grad_()
                with torch.enable_grad():
                    answer = Answer.of(model, z)
                    value = (z - x).flatten(1).square().sum(1) - weights.value * answer.loss(goal)
                    (g,) = torch.autograd.grad(value.sum(), z)
                logits = answer.logits.detach()
                yield Iterate(z.detach(), logits)
                fooled |= goal.margin(logits) < 0
                descent.take(value.detach(), g)
            weights = weights.after(fooled)


PAPER = Paper(
    "Intriguing Properties of Neural Networks",
    "Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow, Fergus",
    2013,
    "1312.6199",
)
SPEC = Spec(
    key="lbfgs",
    name="L-BFGS",
    summary="The first attack of all: the smallest change that a quasi-Newton search finds for a wrong class.",
    formula=r"\min_{x' \in [0,1]^n}\; \lVert x' - x\rVert_2^2 + c\,J(x', t),\quad c\ \text{as small as fools}",
    papers=(PAPER,),
    make=LBFGS,
    keep="closest",
    norm="l2",
    symbols={
        "t": "the class to be reached",
        "n": "how many values the picture has",
        "c": "the weight of the loss: the smallest with which the model is still fooled",
    },
)


class _Descent:
    """L-BFGS in the box [0,1] for every row of a batch at once, one evaluation at a time.

    `next` is where value and gradient are wanted; `take` hands them over.
    """

    def __init__(self, x: Tensor, value: Tensor, g: Tensor, memory: int) -> None:
        self.shape, self.x, self.value, self.g = x.shape, x.flatten(1), value.unsqueeze(1), g.flatten(1)
        self.past: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=memory)
        self.length = torch.ones_like(self.value)
        self.step = self._direction()

    @property
    def next(self) -> Tensor:
        """Where to go, if that turns out to be lower."""
        return (self.x + self.length * self.step).clamp(0, 1).view(self.shape)

    def take(self, value: Tensor, g: Tensor) -> None:
        """Goes to `next` where its value [N] is low enough (Armijo), else halves the step."""
        y, value, g = self.next.flatten(1), value.unsqueeze(1), g.flatten(1)
        slope = _dot(self.g, y - self.x)
        lower = (value <= self.value + 1e-4 * slope) & (slope < 0)
        self._remember(torch.where(lower, y - self.x, 0), torch.where(lower, g - self.g, 0))
        self.x, self.value = torch.where(lower, y, self.x), torch.where(lower, value, self.value)
        self.g = torch.where(lower, g, self.g)
        self.step = torch.where(lower, self._direction(), self.step)
        self.length = torch.where(lower, 1.0, self.length / 2)

    def _remember(self, s: Tensor, y: Tensor) -> None:
        """A pair of step and change of gradient; of no weight in rows where it shows no positive curvature."""
        curvature = _dot(s, y)
        good = curvature > 1e-10 * _dot(y, y)
        self.past.append((s, y, torch.where(good, 1 / curvature.clamp(min=TINY), 0)))

    def _direction(self) -> Tensor:
        """The quasi-Newton step [N,D]; pixels at a bound that it would push out stay where they are."""
        downhill = -movable(-self.g, self.x)
        q = downhill
        kept = []
        for s, y, rho in reversed(self.past):
            share = rho * _dot(s, q)
            q = q - share * y
            kept.append(share)
        scale = torch.ones_like(q[:, :1])
        for s, y, rho in self.past:
            scale = torch.where(rho > 0, _dot(s, y) / _dot(y, y).clamp(min=TINY), scale)
        first = downhill.abs().sum(1, keepdim=True).clamp(min=1)
        q = q * torch.where(scale == 1, 1 / first, scale)
        for (s, y, rho), share in zip(self.past, reversed(kept), strict=True):
            q = q + s * (share - rho * _dot(y, q))
        q = q.masked_fill(downhill == 0, 0)
        return torch.where(_dot(q, downhill) > 0, -q, -downhill / first)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)
