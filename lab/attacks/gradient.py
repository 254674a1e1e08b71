"""The gradient family: one loop, configured by data (FGSM, BIM, PGD, MI-, NI-, DI-, TI-, SI-NI-, VMI-, VNI-FGSM)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from lab.answers import Answer
from lab.attacks import views
from lab.attacks.norms import NORMS, alpha_field, eps_field, furthest, per_row
from lab.attacks.views import View
from lab.params import param
from lab.types import Goal, Iterate, LabWarning, Model, Steps


def input_gradient(model: Model, x: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Logits [N,K] at x and the gradient [N,...] of each image's loss, logits -> [N], with respect to that image.

    A model whose logits do not depend on x has a zero gradient. Parameters get no gradient.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        g = derivative(loss(logits).sum(), x)
    return logits.detach(), g


def loss_gradient(model: Model, x: Tensor, goal: Goal, view: View | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N,K] at x, the loss of the goal there [N], and its gradient [N,...] with respect to each image.

    Args:
        model: images -> logits; one that fuses losses has the loss that it says.
        x: images [N,C,H,W].
        goal: for these images.
        view: what the model sees of an image in its place.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        answer = Answer.of(model, x if view is None else view(x))
        loss = answer.loss(goal)
        g = derivative(loss.sum(), x)
    return answer.logits.detach(), loss.detach(), g


def derivative(value: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
    """The gradient of a number with respect to x, zero where there is none; `keep` where more of them will be asked."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (g,) = torch.autograd.grad(value, x, retain_graph=keep, allow_unused=True)
    if g is None:
        return torch.zeros_like(x)
    return g if g.sum().isfinite() else _finite(g)


def _finite(g: Tensor) -> Tensor:
    """Gradients [N,...] with 0 for NaN, and the largest other value of its row for infinity."""
    if g.isfinite().all():  # only the sum was too large
        return g
    warnings.warn(
        "the model's gradient is NaN or infinite at some images: NaN counts as 0, infinity as the largest other value",
        LabWarning,
        stacklevel=2,
    )
    finite = torch.where(g.isfinite(), g, 0)
    most = per_row(finite.flatten(1).abs().amax(1), g)
    return torch.where(g.isinf(), g.sign() * torch.where(most > 0, most, 1), finite)


@dataclass(frozen=True)
class GradientAttack:
    """Ascends the loss by steps along the gradient, staying within eps of the image and in [0,1].

    Every knob is independent of the others, so the published methods are points in one space and any other point can be
    tried. Where a method looks elsewhere than at the image itself (`lookahead`, `scales`, `diversity`), its iterates
    carry no logits.

    Source: FGSM, Goodfellow et al. 2015 (steps=1); BIM, Kurakin et al. 2016; PGD, Madry et al. 2018 (random_start);
        MI-FGSM, Dong et al. 2018, algorithm 1 (momentum); NI- and SI-NI-FGSM, Lin et al. 2020 (lookahead, scales);
        DI-FGSM, Xie et al. 2019 (diversity); TI-FGSM, Dong et al. 2019 (smooth); VMI- and VNI-FGSM, Wang and He 2021,
        algorithm 1 (neighbours, spread).
    Deviation: images are clipped to [0,1], which the FGSM paper does not mention. In L2 and L1 the look ahead
        is one step along the accumulated gradient, times the momentum; a single step in L1 moves the steepest values,
        each as far as it can, until the step is used up. The momentum divides each gradient by
        its mean absolute value instead of its L1 norm, as the authors' code does; the trajectory is the same. Random
        numbers are shared by the images of a batch, so that each is attacked as if it were alone.
    """

    eps: float = eps_field("linf", "l2", "l1")
    steps: int = param(10, bounds=(1, 1000), help="How many times the gradient is followed.")
    alpha: float | None = alpha_field("eps/steps, or 2.5 eps/steps with a random start", "linf", "l2", "l1")
    momentum: float = param(
        0.0,
        bounds=(0, 2),
        advanced=True,
        help="Share of the accumulated gradient that each step keeps; 1 in the paper, 0 for none.",
    )
    norm: Literal["linf", "l2", "l1"] = param("linf", help="How the size of the perturbation is measured.")
    random_start: bool = param(False, advanced=True, help="Start at a random point within eps instead of at the image.")
    lookahead: bool = param(
        False, advanced=True, help="Take the gradient where the momentum is about to lead (Nesterov)."
    )
    scales: int = param(
        1, bounds=(1, 10), advanced=True, help="Average the gradient over this many copies, each half as bright."
    )
    diversity: float = param(
        0.0, bounds=(0, 1), advanced=True, help="Probability of shrinking and shifting the image before each gradient."
    )
    smooth: int = param(
        0,
        bounds=(0, 31),
        unit="pixels",
        advanced=True,
        help="Width of the Gaussian that blurs the gradient; 0 for none.",
    )
    neighbours: int = param(
        0, bounds=(0, 100), advanced=True, help="Random points around the image whose gradients tune the next step."
    )
    spread: float = param(
        1.5, bounds=(0, 10), unit="times epsilon", advanced=True, help="How far away these neighbours may be."
    )

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    @property
    def step_size(self) -> float:
        """alpha, or its automatic value."""
        if self.alpha is not None:
            return self.alpha
        return (2.5 if self.random_start else 1.0) * self.eps / self.steps

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields steps+1 iterates; all but the last carry their logits where they are known."""
        norm, clean = NORMS[self.norm], x
        project = norm.ball(clean, self.eps)
        velocity = torch.zeros_like(x) if self.momentum else None
        variance = torch.zeros_like(x) if self.neighbours else None
        if self.random_start:
            x = project(x + self.eps * norm.sample(rng, x))
        if self.start is not None:
            x = project(self.start)
        for _ in range(self.steps):
            at = x
            if self.lookahead and velocity is not None:
                at = torch.add(x, self._ahead(velocity, x), alpha=self.step_size * self.momentum)
            logits, raw = self._gradient(model, at, goal, rng)
            rows = yield Iterate(x, logits if at is x else None)
            if rows is not None:
                x, at, raw, clean, goal = x[rows], at[rows], raw[rows], clean[rows], goal.rows(rows)
                velocity = None if velocity is None else velocity[rows]
                variance = None if variance is None else variance[rows]
                project = norm.ball(clean, self.eps)
            g = raw if variance is None else raw + variance
            if variance is not None:
                variance = self._around(model, at, goal, rng) - raw
            if self.smooth > 1:
                g = views.blur(g, self.smooth)
            if velocity is not None:
                g = velocity = torch.add(g / _mean_size(g), velocity, alpha=self.momentum)
            if self.steps == 1 and self.norm == "l1":
                x = project(x + furthest(g, x, self.step_size))
            else:
                x = project(norm.steepest(g, x).mul_(self.step_size).add_(x))
        yield Iterate(x)

    def _ahead(self, velocity: Tensor, x: Tensor) -> Tensor:
        """Where the momentum leads from x, in steps."""
        return velocity if self.norm == "linf" else NORMS[self.norm].steepest(velocity, x)

    def _gradient(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> tuple[Tensor | None, Tensor]:
        """Logits at x, where they are known, and the mean gradient over the views of x."""
        if self.scales == 1 and not self.diversity:
            logits, _, g = loss_gradient(model, x, goal)
            return logits, g
        total = torch.zeros_like(x)
        for k in range(self.scales):
            view = views.chain(views.dimmed(k), views.diverse(rng, x, self.diversity))
            total += loss_gradient(model, x, goal, view)[2]
        return None, total / self.scales

    def _around(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Tensor:
        """The mean gradient at random points around x."""
        total = torch.zeros_like(x)
        for _ in range(self.neighbours):
            near = x + self.spread * self.eps * NORMS[self.norm].sample(rng, x)
            total += self._gradient(model, near, goal, rng)[1]
        return total / self.neighbours


def _mean_size(g: Tensor) -> Tensor:
    """The mean absolute value of each row of g [N,...], as [N,1,...], never 0."""
    return per_row(g.flatten(1).abs().mean(1), g).clamp(min=torch.finfo(g.dtype).tiny)
