"""Carlini-Wagner: the smallest change at which another class overtakes, by Adam in a space without bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lab.attacks.gradient import derivative, input_gradient
from lab.attacks.norms import LENGTHS, per_row
from lab.attacks.spec import Spec
from lab.attacks.weights import Weights
from lab.params import param
from lab.types import TINY, Goal, Iterate, Model, Paper, Steps

SETTLED = 0.05
"""An image is settled once another weight, that fooled, brought it closer by less than this share."""
BETAS = 0.9, 0.999
"""How much of Adam's mean gradient and of its mean square stays at each step."""
EPS = 1e-8
"""What keeps Adam's division from 0."""
AMPLE = 8.0
"""Where the first weight is automatic: how many times as large as would do if the model were linear and pixels free."""
WEIGHTS = 1e-6, 1e6
"""The range of the first weight."""
REACH = 2.8
"""How far one step of Adam moves in the space of tanh, in L2, where the learning rate is automatic."""
INSIDE = 1 - 1e-6
"""The share of the pixel range that tanh can reach with finite arguments."""


@dataclass(frozen=True)
class CarliniWagner:
    """Minimises the squared L2 length of the perturbation plus a weighted margin, and searches the weight per image.

    Pixels are written as (tanh(w) + 1) / 2, so that they stay in [0,1]; Adam moves w. What counts is the closest image
    that was fooled on the way, which the driver keeps.

    Source: Carlini and Wagner 2017, section VI.A (L2, f6) and VI.B (multiple weights).
    Deviation: from the second weight on, the search starts at the closest image found, or goes on where none is; the
        learning rate falls to 0 over the steps of each weight (cosine) and starts where a step is equally long in all
        sizes of images, not at 0.01; the first weight is 8 times what a linear model would need, and an image whose
        distance a weight improved by less than 5% is done. On 16 images of `fashion_mnist/cnn`, 5 weights of 100 steps
        then find a mean L2 of 0.26 where the paper's settings find 0.74. No early abort within a weight.
    """

    steps: int = param(100, bounds=(1, 10_000), help="Steps of the optimiser for each weight.")
    searches: int = param(5, bounds=(1, 20), help="How many weights between size and loss are tried for each image.")
    lr: float | None = param(
        None,
        bounds=(1e-4, 1),
        help="Learning rate of the optimiser at the start of each weight. Automatic: 2.8 / sqrt(values), at most 0.1.",
    )
    confidence: float = param(
        0.0, bounds=(0, 100), unit="logits", help="How far beyond the boundary the image has to get."
    )
    weight: float | None = param(
        None,
        bounds=WEIGHTS,
        advanced=True,
        help="The first weight of the loss. Automatic: 8 times what would do if the model were linear.",
    )

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields the clean images, then at most searches * steps iterates with their logits."""
        logits, slope = input_gradient(model, x, goal.margin)
        yield Iterate(x, logits, hit=goal.margin(logits) + self.confidence < 0 if self.confidence else None)
        nearest = x if self.start is None else self.start
        shortest = torch.full((len(x),), math.inf, dtype=x.dtype, device=x.device)
        linear = 2 * (goal.margin(logits) + self.confidence) / LENGTHS["l2"](slope).square().clamp(min=TINY)
        weights = Weights.start((AMPLE * linear).clamp(*WEIGHTS) if self.weight is None else self.weight, x)
        fastest = self.lr or min(0.1, REACH / math.sqrt(x[0].numel()))
        for _ in range(self.searches):
            w = torch.atanh((2 * nearest - 1) * INSIDE)
            mean, square = torch.zeros_like(w), torch.zeros_like(w)
            before, fooled = shortest, torch.zeros_like(shortest, dtype=torch.bool)
            for step in range(self.steps):
                z = _pixels(w).requires_grad_()
                with torch.enable_grad():
                    logits = model(z)
                    beyond = goal.margin(logits) + self.confidence
                    slope = derivative((weights.value * beyond.clamp(min=0)).sum(), z)
                z, hit = z.detach(), beyond.detach() < 0
                d = z - x
                size = LENGTHS["l2"](d)
                fooled = fooled | hit
                closer = hit & (size < shortest)
                shortest = torch.where(closer, size, shortest)
                closer |= shortest.isinf()
                if closer.any():
                    nearest = torch.where(per_row(closer, z), z, nearest)
                slope.add_(d, alpha=2).mul_(z - z.square())  # half of the slope in w: dz/dw = 2 z (1 - z)
                mean.lerp_(slope, 1 - BETAS[0])
                square.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
                first, second = 1 - BETAS[0] ** (step + 1), math.sqrt(1 - BETAS[1] ** (step + 1))
                rate = fastest * (1 + math.cos(math.pi * step / self.steps)) / 2
                w.addcdiv_(mean, square.sqrt().add_(EPS / 2 * second), value=-rate * second / first)
                settled = fooled & (shortest > before * (1 - SETTLED)) if step == self.steps - 1 else None
                rows = yield Iterate(z, logits.detach(), settled=settled, hit=hit if self.confidence else None)
                if rows is not None:
                    x, goal, weights = x[rows], goal.rows(rows), weights.rows(rows)
                    nearest, shortest, before, fooled = (t[rows] for t in (nearest, shortest, before, fooled))
                    w, mean, square = w[rows], mean[rows], square[rows]
            weights = weights.after(fooled)


PAPER = Paper("Towards Evaluating the Robustness of Neural Networks", "Carlini, Wagner", 2017, "1608.04644")
SPEC = Spec(
    key="cw",
    name="Carlini-Wagner (L2)",
    summary="The smallest change at which another class overtakes, weighed against its size again and again.",
    formula=r"\min_w\; \lVert x' - x\rVert_2^2 "
    r"+ c\,\max\left(f_y(x') - \max_{k \ne y} f_k(x') + \kappa,\ 0\right),\quad x' = \tfrac12(\tanh w + 1)",
    papers=(PAPER,),
    make=CarliniWagner,
    keep="closest",
    norm="l2",
    symbols={
        "c": "the weight of the second term, found by search",
        "kappa": "the margin by which the model is to be wrong",
        "w": "the variable that is searched; any value of it gives a picture inside [0, 1]",
    },
)


def _pixels(w: Tensor) -> Tensor:
    return (torch.tanh(w) + 1) / 2
