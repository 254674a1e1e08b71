"""DeepFool: steps to the nearest class boundary of the model, linearised at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.gradient import derivative
from lab.attacks.norms import NORMS, movable, per_row
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import TINY, Goal, Iterate, Model, Paper, Steps

CAREFUL = 4
"""So many steps go half of the way."""
FEW = 3
"""Classes that stay candidates after the first step."""


@dataclass(frozen=True)
class DeepFool:
    """Finds a small perturbation by stepping, again and again, just across the nearest linearised boundary.

    Only the classes that are most probable at the start are candidates, so that a thousand classes cost no more than
    ten. With a target there is one candidate, the target.

    Source: Moosavi-Dezfooli et al. 2016, algorithm 2, and section 3.4 for L-infinity.
    Deviation: images are clipped to [0,1], and pixels that a step would push out of that range are left out of its
        linearisation; otherwise clipping undoes part of every step, and images with black ground stall at the boundary.
        The targeted form is ours. The overshoot is applied at every step, as in the authors' code. The first four steps
        go half of the way, and after the first one only the three nearest classes stay candidates: smaller
        perturbations for fewer passes.
    """

    steps: int = param(50, bounds=(1, 1000), help="Most steps; an image is done as soon as its class changes.")
    candidates: int = param(
        10, bounds=(1, 1000), help="How many other classes are considered, the most probable at the start."
    )
    overshoot: float = param(0.02, bounds=(0, 1), help="How much farther than the boundary each step goes, as a share.")
    norm: Literal["l2", "linf"] = param("l2", help="The norm that is kept small.")

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields an iterate a step, each with its logits; drops the rows that the driver is done with."""
        clean, total = x, torch.zeros_like(x)
        rivals: Tensor | None = None
        for k in range(self.steps):
            inputs = x.detach().requires_grad_()
            with torch.enable_grad():
                logits = model(inputs)
            if rivals is None:
                rivals = self._rivals(logits.detach(), goal)
            rows = yield Iterate(x, logits.detach())
            step, distances = self._step(inputs, logits, goal, rivals, rows)
            if rows is not None:
                clean, total, goal, rivals = clean[rows], total[rows], goal.rows(rows), rivals[rows]
            rivals = rivals.gather(1, distances.topk(min(FEW, rivals.shape[1]), largest=False).indices)
            total = total + (step / 2 if k < CAREFUL else step)
            x = (clean + (1 + self.overshoot) * total).clamp(0, 1)
        yield Iterate(x)

    def _rivals(self, logits: Tensor, goal: Goal) -> Tensor:
        """The classes to be considered [N,k]: the target, or the most probable ones other than the label."""
        own = goal.labels.unsqueeze(1)
        if goal.targeted:
            return own
        others = logits.scatter(1, own, float("-inf"))
        return others.topk(min(self.candidates, logits.shape[1] - 1), dim=1).indices

    def _step(
        self, inputs: Tensor, logits: Tensor, goal: Goal, rivals: Tensor, rows: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The smallest step [n,...] to a rival's boundary, were the model linear, for the rows to go on with.

        Also how far each rival's boundary is [n,k].
        """
        rows = torch.arange(len(inputs), device=inputs.device) if rows is None else rows
        from_class = logits.detach().argmax(1) if goal.targeted else goal.labels
        norm = NORMS[self.norm]
        best = torch.full((len(rows),), float("inf"), dtype=inputs.dtype, device=inputs.device)
        nearest, distances = torch.zeros_like(inputs[rows]), []
        for k in range(rivals.shape[1]):
            gaps = logits.gather(1, rivals[:, k : k + 1]) - logits.gather(1, from_class.unsqueeze(1))
            w = movable(derivative(gaps.sum(), inputs, keep=k + 1 < rivals.shape[1])[rows], inputs.detach()[rows])
            dual = norm.dual(w)
            distance = (gaps.detach()[rows, 0].abs() + TINY) / dual.clamp(min=TINY)
            distance = torch.where(dual > TINY, distance, torch.inf)
            step = norm.steepest(w) * per_row(torch.where(distance.isfinite(), distance, 0), w)
            closer = per_row(distance < best, w)
            nearest = torch.where(closer, step, nearest)
            best = torch.minimum(best, distance)
            distances.append(distance)
        return nearest, torch.stack(distances, 1)


PAPER = Paper(
    "DeepFool: a Simple and Accurate Method to Fool Deep Neural Networks",
    "Moosavi-Dezfooli, Fawzi, Frossard",
    2016,
    "1511.04599",
)
SPEC = Spec(
    key="deepfool",
    name="DeepFool",
    summary="Steps just across the nearest class boundary, again and again: as small a change as it finds.",
    formula=r"r_t = \frac{|f_k(x_t) - f_y(x_t)|}{\lVert w_k\rVert_{\dual}}\,\step{w_k},\quad "
    r"w_k = \nabla f_k(x_t) - \nabla f_y(x_t),\quad "
    r"k = \arg\min_k \frac{|f_k - f_y|}{\lVert w_k\rVert_{\dual}}",
    papers=(PAPER,),
    make=DeepFool,
    keep="closest",
    until_reached=True,
    symbols={"r": "the step across the nearest boundary"},
)
