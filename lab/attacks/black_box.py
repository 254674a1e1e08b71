"""SPSA and NES: the steps of a gradient attack along gradients that are estimated from scores alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.norms import NORMS, alpha_field, draw, eps_field
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import Access, Goal, Iterate, Model, Paper, Steps

VALUES = {"cpu": 2**19, "cuda": 2**24}
"""About how many pixel values a call of the model may hold, where an attack is free to cut its queries into calls."""


def portions(count: int, x: Tensor) -> Iterator[int]:
    """Cuts `count` queries for each of the images x [N,...] into calls of the model that fit caches and memory.

    The portions add up to `count`. Random numbers must be drawn query by query, so as not to depend on the cut.
    """
    size = max(1, VALUES.get(x.device.type, VALUES["cpu"]) // max(1, x.numel()))
    for start in range(0, count, size):
        yield min(size, count - start)


def ask(model: Model, probes: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
    """Logits [B,N,K] and margins [B,N] of B queries for each of N images, probes [B,N,C,H,W], in one call."""
    logits = model(probes.flatten(0, 1))
    margins = Goal(goal.labels.repeat(len(probes)), goal.targeted).margin(logits)
    return logits.unflatten(0, probes.shape[:2]), margins.view(probes.shape[:2])


@dataclass(frozen=True)
class ScoreAttack:
    """Estimates the gradient of the margin from scores at pairs of opposite points, and steps along it.

    Where a gradient attack would ask for a gradient, this asks for the scores at x + delta v and x - delta v along
    random directions v and averages the differences; the mean of that is the gradient, were the model linear. The
    directions are the same for all images of a batch.

    Source: SPSA, Uesato et al. 2018, algorithm 1 (signs); NES, Ilyas et al. 2018, algorithm 1 (normal).
    Deviation: both lower the margin, as SPSA does, where NES takes the probability of a class. The step is the norm's
        steepest one along the estimate and its momentum, as in NES, where SPSA uses Adam. Points asked for are clipped
        to [0,1], so that they are images.
    """

    eps: float = eps_field("linf", "l2")
    steps: int = param(10, bounds=(1, 1000), help="How many times the estimated gradient is followed.")
    samples: int = param(
        128, bounds=(1, 10_000), unit="pairs", help="Random directions in each estimate; two queries each."
    )
    alpha: float | None = alpha_field("5 eps/steps", "linf", "l2")
    momentum: float = param(
        0.9, bounds=(0, 1), advanced=True, help="Share of the earlier estimates that each step keeps."
    )
    delta: float = param(0.01, bounds=(1e-5, 1), advanced=True, help="How far from the image the scores are asked for.")
    norm: Literal["linf", "l2"] = param("linf", help="How the size of the perturbation is measured.")
    directions: Literal["signs", "normal"] = param(
        "signs", advanced=True, help="Random directions: plus or minus one in every pixel, or normally distributed."
    )

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    @property
    def step_size(self) -> float:
        """alpha, or its automatic value."""
        return 5 * self.eps / self.steps if self.alpha is None else self.alpha

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields steps+1 iterates; all but the last carry their logits, for one query each."""
        norm = NORMS[self.norm]
        clean, velocity = x, torch.zeros_like(x)
        if self.start is not None:
            x = norm.ball(clean, self.eps)(self.start)
        for _ in range(self.steps):
            logits = model(x)
            rows = yield Iterate(x, logits)
            if rows is not None:
                x, clean, velocity, goal = x[rows], clean[rows], velocity[rows], goal.rows(rows)
            velocity = self.momentum * velocity + self.estimate(model, x, goal, rng)
            x = norm.ball(clean, self.eps)(x + self.step_size * norm.steepest(velocity))
        yield Iterate(x)

    def estimate(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Tensor:
        """The gradient [N,...] by which each image's margin falls, from 2*samples queries for each of them."""
        total = torch.zeros_like(x)
        for count in portions(self.samples, torch.cat([x, x])):
            v = torch.cat([self._direction(rng, x) for _ in range(count)])
            shift = self.delta * v.unsqueeze(1)
            _, margins = ask(model, torch.cat([x + shift, x - shift]).clamp_(0, 1), goal)
            ahead, behind = margins.chunk(2)
            total += torch.einsum("bn,bchw->nchw", behind - ahead, v)
        return total / (2 * self.delta * self.samples)

    def _direction(self, rng: torch.Generator, x: Tensor) -> Tensor:
        """One random direction [1,...] for all images."""
        if self.directions == "normal":
            return draw(rng, x, normal=True)
        return torch.where(draw(rng, x) < 0, -1.0, 1.0).to(x)


SCORED = ("eps", "steps", "samples", "alpha", "momentum", "delta", "norm")
"""The parameters that both offer."""
ESTIMATE = {
    "g": "the estimated gradient",
    "m": "the margin: the logit of $y$ minus the largest other",
    "delta": "how far from the picture the scores are asked for",
    "N": "how many random directions are tried",
    "i": "one of them",
}
"""The letters of both formulas."""
UESATO = Paper(
    "Adversarial Risk and the Dangers of Evaluating Against Weak Attacks",
    "Uesato, O'Donoghue, van den Oord, Kohli",
    2018,
    "1802.05666",
)
SPSA = Spec(
    key="spsa",
    name="SPSA",
    summary="Steps along a gradient estimated from the scores at random points around the image.",
    formula=r"\hat g = \frac{1}{N} \sum_i \frac{m(x_t - \delta v_i) - m(x_t + \delta v_i)}{2\delta}\,v_i,"
    r"\quad x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{\textstyle\sum \mu^{t-s}\,\hat g_s}\right)",
    papers=(UESATO,),
    make=ScoreAttack,
    offers=SCORED,
    access=Access.SCORES,
    until_reached=True,
    symbols=ESTIMATE | {"v": "a random direction of plus or minus one in every value", "s": "an earlier iteration"},
)
ILYAS = Paper(
    "Black-box Adversarial Attacks with Limited Queries and Information",
    "Ilyas, Engstrom, Athalye, Lin",
    2018,
    "1804.08598",
)
NES = Spec(
    key="nes",
    name="NES",
    summary="SPSA along normally distributed directions: the gradient of the scores around the image.",
    formula=r"\hat g = \frac{1}{N} \sum_i \frac{m(x_t - \delta v_i) - m(x_t + \delta v_i)}{2\delta}\,v_i,"
    r"\quad v_i \sim \mathcal{N}(0, I)",
    papers=(ILYAS,),
    make=ScoreAttack,
    preset={"directions": "normal", "delta": 0.001},
    offers=SCORED,
    access=Access.SCORES,
    until_reached=True,
    symbols=ESTIMATE | {"v": "a random direction, normally distributed", "I": "the identity"},
)
