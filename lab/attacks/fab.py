"""FAB: steps to the linearised boundary, drawn back towards the clean image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.aim import rival
from lab.attacks.gradient import derivative
from lab.attacks.norms import NORMS, per_row
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import TINY, Goal, Iterate, Model, Paper, Steps


@dataclass(frozen=True)
class FAB:
    """Looks for the nearest point of the boundary to one class, always biased towards the clean image.

    Source: Croce and Hein 2020 (Minimally distorted adversarial examples), algorithm 1, in the targeted form of
        AutoAttack; the random starts of its restarts are given as `start`.
    """

    steps: int = param(100, bounds=(1, 10_000), help="How many times the boundary is linearised.")
    norm: Literal["linf", "l2"] = param("linf", help="The norm that is kept small.")
    rival: int = param(1, bounds=(1, 1000), help="The class to take over: 1 for the next on the clean image.")
    pull: float = param(0.1, bounds=(0, 1), advanced=True, help="Largest share of the clean image in a step.")
    overshoot: float = param(1.05, bounds=(1, 2), advanced=True, help="How far beyond the boundary a step goes.")
    back: float = param(0.9, bounds=(0, 1), advanced=True, help="How far back a fooled image goes on from.")

    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields steps + 1 iterates with their logits; drops the rows that the driver is done with."""
        norm, clean = NORMS[self.norm], x
        logits = model(x).detach()
        aim = goal.labels if goal.targeted else rival(logits, goal, self.rival)
        seen, x = x, x if self.start is None else self.start
        for _ in range(self.steps):
            rows = yield Iterate(seen, logits)
            if rows is not None:
                x, clean, seen, logits = x[rows], clean[rows], seen[rows], logits[rows]
                goal, aim = goal.rows(rows), aim[rows]
            gap, w = self._boundary(model, x, goal, aim)
            here = self._to_plane(x, w, gap)
            there = self._to_plane(clean, w, gap + (w * (clean - x)).flatten(1).sum(1))
            near, far = norm.length(here), norm.length(there)
            share = per_row((near / (near + far).clamp(min=TINY)).clamp(max=self.pull), x)
            seen = ((x + self.overshoot * here) * (1 - share) + (clean + self.overshoot * there) * share).clamp(0, 1)
            with torch.no_grad():
                logits = model(seen)
            fooled = goal.reached(logits.argmax(1))
            x = torch.where(per_row(fooled, x), clean + self.back * (seen - clean), seen)
        yield Iterate(seen, logits)

    def _boundary(self, model: Model, x: Tensor, goal: Goal, aim: Tensor) -> tuple[Tensor, Tensor]:
        """How far the logit to be overtaken lies above that of the class aimed at [N], and the gradient of that."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = model(x)
            others = logits.detach().scatter(1, aim.unsqueeze(1), float("-inf")).argmax(1)
            own = others if goal.targeted else goal.labels
            gap = logits.gather(1, own.unsqueeze(1)) - logits.gather(1, aim.unsqueeze(1))
            w = derivative(gap.sum(), x)
        return gap.detach()[:, 0], w

    def _to_plane(self, x: Tensor, w: Tensor, gap: Tensor) -> Tensor:
        """The smallest change of x within [0,1] that closes the gap, were it linear with slope w; else the largest.

        Every value moves along -w, as far as the range of its pixel allows; how far is found exactly, as what that
        closes grows piecewise linearly.
        """
        shape, x, w = x.shape, x.flatten(1), w.flatten(1)
        way = -w.sign() * gap.sign().unsqueeze(1)
        room = torch.where(way > 0, 1 - x, x)
        pace = w.abs() if self.norm == "l2" else torch.ones_like(w)
        gain = w.abs() * pace
        ends, order = (room / pace.clamp(min=TINY)).sort(dim=1)
        slope = gain.sum(1, keepdim=True) - gain.gather(1, order).cumsum(1) + gain.gather(1, order)
        starts = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
        closed = (slope * (ends - starts)).cumsum(1)
        wanted = gap.abs().unsqueeze(1)
        at = (closed < wanted).sum(1, keepdim=True).clamp(max=ends.shape[1] - 1)
        before = closed.gather(1, at) - slope.gather(1, at) * (ends.gather(1, at) - starts.gather(1, at))
        far = starts.gather(1, at) + (wanted - before).clamp(min=0) / slope.gather(1, at).clamp(min=TINY)
        return (way * torch.minimum(pace * far, room)).view(shape)


PAPER = Paper(
    "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", "Croce, Hein", 2020, "1907.02044"
)
SPEC = Spec(
    key="fab",
    name="FAB",
    summary="Steps to the linearised boundary, always drawn back towards the clean image.",
    formula=r"x_{t+1} = (1 - \alpha_t)\left(x_t + \eta\,\delta_t\right) "
    r"+ \alpha_t\left(x + \eta\,\delta\right),"
    r"\quad \delta_t, \delta\ \text{to the plane}\ f_y(x_t) - f_k(x_t) + w_t \cdot (x' - x_t) = 0",
    papers=(PAPER,),
    make=FAB,
    keep="closest",
    symbols={
        "delta": r"the shortest way to the plane, $\delta_t$ from $x_t$, $\delta$ from $x$",
        "alpha": "how far back towards the clean picture",
        "eta": "how far beyond the plane",
        "w": "the gradient of the difference of the two logits",
    },
)
