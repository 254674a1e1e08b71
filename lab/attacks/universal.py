"""A universal perturbation: one and the same change that fools the model on as many images of the batch as it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.black_box import portions
from lab.attacks.gradient import derivative
from lab.attacks.norms import NORMS, alpha_field, eps_field
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import TINY, Goal, Iterate, Model, Paper, Steps

ENOUGH = 1.0
"""By how much, in logits, an image's goal is reached when it counts no more."""


@dataclass(frozen=True)
class Universal:
    """Finds one perturbation for all images of the batch, by steps that lower the sum of their margins.

    An image whose goal is reached by more than ENOUGH counts no more, so that the steps serve the others; it counts
    again if it falls back. The images depend on each other, and no image is ever done before the others.

    Source: Moosavi-Dezfooli et al. 2017 (the aim); Shafahi et al. 2020, algorithm 1 (the ascent on one perturbation).
    Deviation: the first adds up DeepFool steps, image after image, over and over; this fools more images in a fraction
        of the time. The second caps the cross-entropy, this the margin; and every step looks at the whole batch and
        keeps a share of the steps before.
    """

    eps: float = eps_field("linf", "l2")
    steps: int = param(50, bounds=(1, 1000), help="How many times the gradient, summed over the images, is followed.")
    alpha: float | None = alpha_field("10 eps/steps", "linf", "l2")
    momentum: float = param(
        0.9, bounds=(0, 1), advanced=True, help="Share of the earlier gradients that each step keeps."
    )
    norm: Literal["linf", "l2"] = param("linf", help="How the size of the perturbation is measured.")

    @property
    def step_size(self) -> float:
        """alpha, or its automatic value."""
        return 10 * self.eps / self.steps if self.alpha is None else self.alpha

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields steps+1 iterates of all images, all but the last with their logits."""
        within = NORMS[self.norm].ball(x, self.eps)
        delta, velocity = torch.zeros_like(x[:1]), torch.zeros_like(x[:1])
        for _ in range(self.steps):
            fooled = within(x + delta)
            logits, g = _summed_gradient(model, fooled, goal)
            yield Iterate(fooled, logits)
            velocity = self.momentum * velocity + g / g.abs().mean().clamp(min=torch.finfo(g.dtype).tiny)
            delta = self._within(delta + self.step_size * NORMS[self.norm].steepest(velocity))
        yield Iterate(within(x + delta))

    def _within(self, delta: Tensor) -> Tensor:
        """The perturbation [1,...], made no larger than eps."""
        if self.norm == "linf":
            return delta.clamp(-self.eps, self.eps)
        return delta * (self.eps / NORMS[self.norm].length(delta).clamp(min=TINY)).clamp(max=1)


UNIVERSAL = Paper("Universal Adversarial Perturbations", "Moosavi-Dezfooli, Fawzi, Fawzi, Frossard", 2017, "1610.08401")
SHAFAHI = Paper(
    "Universal Adversarial Training", "Shafahi, Najibi, Xu, Dickerson, Davis, Goldstein", 2020, "1811.11304"
)
SPEC = Spec(
    key="universal",
    name="Universal perturbation",
    summary="One and the same perturbation for all pictures, that fools the model on as many as it can.",
    formula=r"d_{t+1} = \Pi_\epsilon\left(d_t + \alpha\,\step{g_{t+1}}\right),\quad "
    r"g_{t+1} = \mu\,g_t - \nabla_d \sum_i \max\left(m(x_i + d_t),\,-1\right)",
    papers=(UNIVERSAL, SHAFAHI),
    make=Universal,
    joint=True,
    symbols={
        "d": "the perturbation, the same for every picture",
        "m": "the margin: the logit of $y$ minus the largest other",
        "i": "one of the pictures",
        "nabla": "the gradient with respect to the perturbation",
    },
)


def _summed_gradient(model: Model, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
    """Logits [N,K] at x, and the gradient [1,...] by which the margins of those that count fall, summed."""
    answers, total = [], torch.zeros_like(x[:1])
    rows = torch.arange(len(x), device=x.device)
    for part in rows.split(list(portions(len(x), x[:1]))):
        inputs = x[part].requires_grad_()
        with torch.enable_grad():
            logits = model(inputs)
            gain = -goal.rows(part).margin(logits).clamp(min=-ENOUGH).sum()
        answers.append(logits.detach())
        total = total + derivative(gain, inputs).sum(0, keepdim=True)
    return torch.cat(answers), total
