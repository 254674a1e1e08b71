"""HopSkipJump: walks along the decision boundary towards the image, by the predicted labels alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lab.attacks.black_box import portions
from lab.attacks.norms import NORMS, draw, per_row
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import TINY, Access, Goal, Iterate, Model, Paper, Steps

JUMPS = 8
"""How many step sizes are tried at each jump, every one half of that before."""
CELLS = (1, 2, 4, 8, 16, 0)
"""Cells across the random pictures that a start is looked for in; 0 for as many as the image has pixels."""
REACH = 0.02
"""How far out the probes lie, as a share of the distance (L2) to the image."""


@dataclass(frozen=True)
class HopSkipJump:
    """Finds a small perturbation from the predicted labels alone.

    A start that reaches the goal is found by blending the image with random pictures. Then, again and again: a binary
    search between it and the image for the boundary, random probes around the point found for the way in which the
    boundary faces, and a jump that way. Images for which there is no start yet go on looking for one with the same
    number of queries, and stay as they are until they have one. Every image costs the same queries.

    Attributes:
        starts: images [M,C,H,W] to blend with before any random ones, say some of the target class.

    Source: Chen, Jordan, Wainwright 2020, algorithms 1 and 2.
    Deviation: the step sizes of a jump are tried at once and the largest that stays adversarial is taken, which is
        where the halving would end; if there is none, the jump is given up. The start is the nearest of many blends,
        with random pictures from one colour to pure noise, not the first of uniform noise. The probes lie a
        fixed share of the distance away, and the search for the boundary ends where they would no longer notice: the
        paper's shrink with the number of values, and in photographs both drown in rounding.
    """

    steps: int = param(10, bounds=(1, 1000), help="How often the direction is estimated and a jump made.")
    samples: int = param(
        100,
        bounds=(1, 10_000),
        unit="queries",
        help="Probes of the first estimate; that of step t takes sqrt(t) times it.",
    )
    norm: Literal["l2", "linf"] = param("l2", help="The norm that is kept small.")
    starts: Tensor | None = field(default=None, repr=False, compare=False)
    """Images [M,C,H,W] among which a start is looked for, for every image."""
    start: Tensor | None = field(default=None, repr=False, compare=False)
    """Where each image's search begins [N,C,H,W]; None for where the method says."""

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields the clean images, the starts, and after every step where on the boundary it led."""
        norm = NORMS[self.norm]
        clean, found = x, torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if self.start is not None:
            rows, start = (yield Iterate(x)), self.start
            if rows is not None:
                x, clean, found, goal, start = x[rows], clean[rows], found[rows], goal.rows(rows), start[rows]
            found = _hits(model, start.unsqueeze(0), goal)[0]  # one that does not reach the goal is no start
            x = torch.where(per_row(found, x), start, x)
        for step in range(self.steps + 1):
            rows = yield Iterate(x)
            if rows is not None:
                x, clean, found, goal = x[rows], clean[rows], found[rows], goal.rows(rows)
            queries = max(1, round(self.samples * math.sqrt(step or 0.25)))
            probing, looking = _child(rng), _child(rng)
            inside, outside = found.nonzero().flatten(), (~found).nonzero().flatten()
            far = clean.clone() if step else x.clone()
            if step:
                way = torch.zeros_like(x)
                if len(inside):
                    way[inside] = self._facing(model, x[inside], clean[inside], goal.rows(inside), queries, probing)
                sizes = norm.length(x - clean) / math.sqrt(step)
                jumps = [(x + per_row(sizes / 2**k, x) * norm.steepest(way)).clamp_(0, 1) for k in range(JUMPS)]
                far = _first(jumps, _hits(model, torch.stack(jumps), goal), x)
            if len(outside):
                far[outside], found[outside] = self._start(model, clean[outside], goal.rows(outside), queries, looking)
            x = self._boundary(model, clean, far, goal)
        yield Iterate(x)

    def longest(self, x: Tensor) -> int:
        """How many iterates follow the clean images: the starts, and one a step."""
        return self.steps + 1

    def _start(
        self, model: Model, clean: Tensor, goal: Goal, queries: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The nearest of many blends with other pictures that reaches the goal, and whether there is one [N]."""
        best, nearest = clean, torch.full((len(clean),), math.inf, dtype=clean.dtype, device=clean.device)
        done = 0
        for count in portions(queries, clean):
            blends = torch.stack([self._blend(clean, done + k, queries, rng) for k in range(count)])
            hits = _hits(model, blends, goal)
            for blend, hit in zip(blends, hits, strict=True):
                distance = NORMS[self.norm].length(blend - clean)
                better = hit & (distance < nearest)
                best, nearest = torch.where(per_row(better, clean), blend, best), torch.where(better, distance, nearest)
            done += count
        return best, nearest.isfinite()

    def _blend(self, clean: Tensor, index: int, count: int, rng: torch.Generator) -> Tensor:
        """The given starts one after another, then blends with random pictures, ever less of the image itself."""
        given = 0 if self.starts is None else len(self.starts)
        if self.starts is not None and index < given:
            return self.starts[index].to(clean).expand_as(clean)
        cells = CELLS[index % len(CELLS)] or max(clean.shape[-2:])
        picture = draw(rng, clean[..., :cells, :cells]).add_(1).div_(2)
        return torch.lerp(clean, F.interpolate(picture, clean.shape[-2:]), (index + 1 - given) / max(count - given, 1))

    def _facing(self, model: Model, x: Tensor, clean: Tensor, goal: Goal, queries: int, rng: torch.Generator) -> Tensor:
        """The way [N,...] across the boundary near x, estimated from which of the probes around x reach the goal."""
        radius = per_row((REACH * NORMS["l2"].length(x - clean)).clamp(min=TINY), x)
        reached, every, hits = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(radius)
        for count in portions(queries, x):
            u = torch.stack([draw(rng, x, normal=self.norm == "l2") for _ in range(count)])
            u = u / per_row(torch.linalg.vector_norm(u.flatten(1), dim=1), u)
            probes = (x + radius * u).clamp_(0, 1)
            hit = _hits(model, probes, goal).to(x)[..., None, None, None]
            moved = (probes - x) / radius
            reached, every, hits = reached + (hit * moved).sum(0), every + moved.sum(0), hits + hit.sum(0)
        share = hits / queries
        return torch.where(hits == 0, -every, torch.where(hits == queries, every, reached - share * every))

    def _boundary(self, model: Model, clean: Tensor, far: Tensor, goal: Goal) -> Tensor:
        """The last point between the clean images and the far ones, which reach the goal, that still reaches it.

        Found to within what a probe, whose direction is random, moves across the boundary.
        """
        low, high = torch.zeros_like(far[:, :1, :1, :1]), torch.ones_like(far[:, :1, :1, :1])
        span = per_row(NORMS["linf"].length(far - clean), far)

        def at(share: Tensor) -> Tensor:
            if self.norm == "linf":
                return far.clamp(clean - share * span, clean + share * span)
            return torch.lerp(clean, far, share)

        for _ in range(math.ceil(math.log2(math.sqrt(far[0].numel()) / REACH))):
            middle = (low + high) / 2
            hit = per_row(_hits(model, at(middle)[None], goal)[0], far)
            low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
        return at(high)


PAPER = Paper(
    "HopSkipJumpAttack: a Query-Efficient Decision-Based Attack", "Chen, Jordan, Wainwright", 2020, "1904.02144"
)
SPEC = Spec(
    key="hopskipjump",
    name="HopSkipJump",
    summary="Walks along the class boundary towards the image by the predicted labels alone.",
    formula=r"v_t = \sum_{b=1}^{B_t} \left(\phi(x_t + \delta_t u_b) - \bar\phi\right) u_b,\quad "
    r"x_{t+1} = P\left(x_t + \xi_t\,\step{v_t}\right)",
    papers=(PAPER,),
    make=HopSkipJump,
    access=Access.LABELS,
    keep="closest",
    symbols={
        "phi": r"1 where the goal is reached, else 0; $\bar\phi$ its mean",
        "delta": "how far out the probes lie",
        "b": "one of the probes",
        "B": r"how many there are, growing with $\sqrt t$",
        "u": "a random direction",
        "v": "the way in which the boundary faces",
        "xi": "the largest of some step sizes that still reaches the goal",
        "P": "a binary search for the boundary, towards the clean picture",
    },
)


def _child(rng: torch.Generator) -> torch.Generator:
    """A generator of its own for one phase, so that what one image needs does not shift the numbers of another."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=rng)))


def _hits(model: Model, probes: Tensor, goal: Goal) -> Tensor:
    """Whether each of B queries for each of N images [B,N,C,H,W] reaches that image's goal, bool [B,N]."""
    return goal.reached(model(probes.flatten(0, 1)).unflatten(0, probes.shape[:2]))


def _first(tried: Sequence[Tensor], hits: Tensor, otherwise: Tensor) -> Tensor:
    """Row by row the first of the images [N,...] that is a hit, hits [B,N], or the other where none is."""
    for images, hit in reversed(list(zip(tried, hits, strict=True))):
        otherwise = torch.where(per_row(hit, images), images, otherwise)
    return otherwise
