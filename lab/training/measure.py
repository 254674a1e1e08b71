"""What a finished net is measured by, for its card: clean accuracy, and accuracy under PGD with restarts."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from lab.models.cards import RobustAccuracy
from lab.training.fit import accuracy
from lab.training.rules import ascend, noise
from lab.types import Goal

BATCH = 250


def clean_accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of images [N,C,H,W] classified as y [N]."""
    return accuracy(net, x, y)


def pgd_accuracy(
    net: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int = 50, restarts: int = 2, seed: int = 0
) -> RobustAccuracy:
    """Accuracy under PGD from several random starts; an image must stand them all.

    Args:
        net: images [N,C,H,W] in [0,1] -> logits, in eval mode.
        x: images [N,C,H,W].
        y: their classes [N].
        eps: L-infinity radius.
        steps: steps per start, each of 5 eps / steps.
        restarts: starts per image.
        seed: of the random starts.
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        standing = torch.cat([net(c).argmax(1) for c in torch.split(x, BATCH)]) == y
    alpha = 5 * eps / steps
    for _ in range(restarts):
        for rows in torch.split(standing.nonzero().squeeze(1), BATCH):
            images, goal = x[rows], Goal(y[rows])
            start = noise(images, eps, rng)
            z = ascend(partial(_loss, net, goal), images, start, eps=eps, alpha=alpha, steps=steps)
            with torch.no_grad():
                standing[rows] &= net(z).argmax(1) == y[rows]
    notes = f"{steps} steps of {alpha:g}, {restarts} random starts per image, an image must stand them all"
    return RobustAccuracy("pgd", "linf", eps, int(standing.sum()) / len(x), len(x), notes)


def _loss(net: nn.Module, goal: Goal, x: Tensor) -> Tensor:
    """What the attacks of the catalogue ascend, too: a cross-entropy whose gradient lasts where a net is sure."""
    return goal.loss(net(x).float()).sum()
