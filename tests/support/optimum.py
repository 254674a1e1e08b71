"""Linear models and images for which the smallest perturbation is known."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.support.nets import Linear

SHAPE = (3, 4, 4)
DUAL = {"linf": 1, "l2": 2}
ROOM = 0.3
"""How far every pixel is from 0 and 1."""


def centred(classes: int) -> Linear:
    """A linear model whose boundary runs through gray, in 64 bits: in 32 a confident loss has hardly a gradient."""
    model = Linear(classes, 48, scale=3, dtype=torch.float64)
    with torch.no_grad():
        # all classes but two are far away, so that the way to the nearest is the gradient's
        far = torch.zeros(classes, dtype=torch.float64).index_fill(0, torch.arange(2, classes), 60)
        model.b.copy_(-model.w.sum(1) / 2 - far)
    return model


def known_optimum(classes: int, norm: str, n: int = 20) -> tuple[Linear, Tensor, Tensor, Tensor, Tensor]:
    """Model, x, y, the nearest other class and its distance, for images where the ball stays within [0,1]."""
    model = centred(classes)
    x = ROOM + (1 - 2 * ROOM) * torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        logits = model(x)
        y = logits.argmax(1)
        length = (model.w[y].unsqueeze(1) - model.w).norm(p=DUAL[norm], dim=2)
        distance = (logits.gather(1, y.unsqueeze(1)) - logits) / length
        distance[torch.arange(n), y] = float("inf")
        radius, nearest = distance.min(1)
    fits = (radius < ROOM) & (radius > 1e-3)
    return model, x[fits], y[fits], nearest[fits], radius[fits]
