"""Along a line through the image: logits and class as functions of epsilon, and where the class flips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.attacks.norms import NORMS, draw
from lab.predict import classes_of, logits_of
from lab.progress import SILENT, Progress
from lab.types import Goal, Model

NOISES = 20
"""Random perturbations that are tried as the control, besides the one that is drawn as a line."""


@dataclass(frozen=True)
class Line:
    """A model along a line through one image.

    Attributes:
        eps: signed distance from the image [M], in the attack's norm, from -eps to +eps; 0 is among them.
        logits: along the attack's direction [M,K].
        noise: along a random direction of the same norm [M,K].
        flip: the smallest distance along the attack's direction at which the class changes, None where it never does.
        reached: the smallest distance at which the goal is reached; `flip` itself where there is no chosen class.
        noise_flip: the same as `flip` along the random direction.
        noise_share: share of NOISES random perturbations of the full size that change the class.
        noise_reached: share of them that reach the goal.
    """

    eps: Tensor
    logits: Tensor
    noise: Tensor
    flip: float | None
    reached: float | None
    noise_flip: float | None
    noise_share: float
    noise_reached: float


def symmetric(reach: float, points: int) -> Tensor:
    """Evenly spaced positions [points] from -reach to reach; the middle one of an odd number is exactly 0."""
    t = torch.linspace(-reach, reach, points)
    return (t - t.flip(0)) / 2


def noise_like(delta: Tensor, norm: str, seed: int) -> Tensor:
    """Random noise [1,C,H,W] of exactly the same norm as a perturbation: random signs; for L2, a Gaussian direction."""
    numbers = draw(torch.Generator().manual_seed(seed), delta, normal=True)
    direction = numbers.sign() if norm == "linf" else numbers
    length = NORMS[norm].length
    return direction * (length(delta) / length(direction)).view(-1, 1, 1, 1)


def along(
    model: Model,
    x: Tensor,
    delta: Tensor,
    norm: str,
    *,
    goal: Goal | None = None,
    points: int = 41,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Line:
    """Logits along a perturbation and along noise of the same norm, in one batch, then the flips by bisection.

    Args:
        model: images -> logits.
        x: the image [1,C,H,W].
        delta: the perturbation [1,C,H,W]; its direction is the line.
        norm: the norm in which distance is measured, "linf" or "l2".
        goal: what the attack wants of this image, on the CPU; None for any change of class.
        points: how many distances, odd so that 0 is one of them.
        seed: of the noise.
        progress: hears of what is looked for.

    Raises:
        Cancelled: where the work is to stop.

    Source: Goodfellow et al. 2015, figure 4.
    Deviation: the line ends at the perturbation's own norm. As in the paper nothing is clipped to [0,1].
    """
    progress.tell(0.0, "the logits along the line")
    length = NORMS[norm].length(delta).item()
    t = symmetric(1, points)
    lines = [delta, noise_like(delta, norm, seed)]
    scale = t.to(x).view(-1, 1, 1, 1)
    logits, noise = logits_of(model, torch.cat([x + scale * d for d in lines]), rows=2 * points).split(points)
    leaves = Goal(logits[points // 2].argmax().view(1))

    def first(direction: Tensor, along: Tensor, event: Goal) -> float | None:
        share = _first(model, x, direction, t, along.argmax(1), event.reached)
        return None if share is None else share * length

    progress.tell(0.4, "random noise")
    noises = torch.cat([noise_like(delta, norm, seed + 1 + i) for i in range(NOISES)])
    classes = classes_of(model, x + noises)
    progress.tell(0.6, "where the class changes")
    flip = first(delta, logits, leaves)
    return Line(
        eps=t * length,
        logits=logits,
        noise=noise,
        flip=flip,
        reached=flip if goal is None else first(delta, logits, goal),
        noise_flip=first(lines[1], noise, leaves),
        noise_share=leaves.reached(classes).float().mean().item(),
        noise_reached=(goal or leaves).reached(classes).float().mean().item(),
    )


def _first(
    model: Model, x: Tensor, direction: Tensor, t: Tensor, classes: Tensor, hit: Callable[[Tensor], Tensor]
) -> float | None:
    """The smallest positive t at which the class is a hit, found on the grid and refined by bisection."""
    zero = len(t) // 2
    hits = hit(classes[zero:]).nonzero().flatten()
    if not len(hits):
        return None
    high = int(hits[0]) + zero
    if high == zero:
        return 0.0
    a, b = t[high - 1].item(), t[high].item()
    for _ in range(4):  # four rounds of eight points narrow the interval about 6,500 times
        inner = torch.linspace(a, b, 10)[1:-1]
        found = hit(classes_of(model, x + inner.to(x).view(-1, 1, 1, 1) * direction)).nonzero().flatten()
        first = int(found[0]) if len(found) else len(inner)
        grid = [a, *inner.tolist(), b]
        a, b = grid[first], grid[first + 1]
    return b
