"""A plane through feature space: a few hundred images, and the way that an attacked one takes through them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.analysis.activations import activations
from lab.analysis.directions import pooled
from lab.types import DataError, Model


@dataclass(frozen=True)
class Embedding:
    """Features projected onto the two directions in which a set of images varies most.

    Attributes:
        points: of the set [N,2].
        path: of the attacked image, iterate by iterate [M,2]; the clean one first.
        explained: share of the set's variance in each of the two directions.
    """

    points: Tensor
    path: Tensor
    explained: tuple[float, float]


def embed(model: Model, x: Tensor, path: Tensor, layer: str) -> Embedding:
    """Projects the features of a set and of an image's trajectory at one stage (principal components of the set).

    Args:
        model: a network.
        x: the set [N,C,H,W], at least three images.
        path: the trajectory [M,C,H,W].
        layer: the stage.

    Raises:
        DataError: for fewer than three images.
        ModelError: for a stage that does not exist.
    """
    if len(x) < 3:
        raise DataError(f"at least three images are needed to span a plane, not {len(x)}")
    features = pooled(activations(model, x, [layer])[layer]).double()
    way = pooled(activations(model, path, [layer])[layer]).double()
    mean = features.mean(0)
    _, values, directions = torch.linalg.svd(features - mean, full_matrices=False)
    plane = directions[:2].T
    # the sign of a principal component is arbitrary: make its largest entry positive
    plane = plane * plane.gather(0, plane.abs().argmax(0, keepdim=True)).sign()
    share = (values.square() / values.square().sum().clamp(min=1e-30)).tolist()
    return Embedding((features - mean) @ plane, (way - mean) @ plane, (share[0], share[1]))
