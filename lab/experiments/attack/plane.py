"""A plane through the image: which class the model sees around it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.attacks.norms import NORMS
from lab.experiments.attack.linearity import noise_like, symmetric
from lab.predict import logits_of
from lab.progress import SILENT, Progress
from lab.types import Model


@dataclass(frozen=True)
class Plane:
    """Classes over (attack direction x random direction).

    Attributes:
        along: positions along the attack's direction [M], in units of the perturbation: 0 the image, 1 the attacked.
        across: positions along the random direction [M], in the same units.
        classes: predicted class, [across, along].
        confidence: softmax probability of that class, [across, along].
    """

    along: Tensor
    across: Tensor
    classes: Tensor
    confidence: Tensor


def plane(
    model: Model,
    x: Tensor,
    delta: Tensor,
    norm: str,
    *,
    points: int = 17,
    reach: float = 1.6,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Plane:
    """Classes on the plane through the image, the attacked image and a random direction of the same norm.

    The random direction is made orthogonal to the attack's. Nothing is clipped to [0,1].

    Args:
        model: images -> logits.
        x: the image [1,C,H,W].
        delta: the perturbation [1,C,H,W].
        norm: the norm in which the two directions have the same length.
        points: positions along each axis; odd, so that the image itself is on the grid.
        reach: how far each axis goes, in units of the perturbation.
        seed: of the random direction.
        progress: hears of every row of the plane.

    Raises:
        Cancelled: where the work is to stop.
    """
    noise = noise_like(delta, norm, seed)
    overlap = (noise * delta).sum() / (delta * delta).sum().clamp(min=1e-12)
    noise = noise - overlap * delta
    length = NORMS[norm].length
    noise = noise * (length(delta) / length(noise).clamp(min=1e-12)).view(-1, 1, 1, 1)
    axis = symmetric(reach, points)
    v, u = torch.meshgrid(axis.to(x), axis.to(x), indexing="ij")
    rows = []
    for i in range(points):  # a row of the grid at a time, so that only these images exist at once
        images = x + u[i].view(-1, 1, 1, 1) * delta + v[i].view(-1, 1, 1, 1) * noise
        rows.append(logits_of(model, images))
        progress.tell((i + 1) / points)
    confidence, classes = torch.stack(rows).softmax(2).max(2)
    return Plane(axis, axis, classes, confidence)
