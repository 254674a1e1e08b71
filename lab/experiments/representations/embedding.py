"""A plane through feature space: a few hundred images, and the way that an attacked one takes through them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.types import DataError


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


def embed(features: Tensor, path: Tensor) -> Embedding:
    """Projects the features of a set, and of an image's trajectory, onto the principal components of the set.

    Args:
        features: of the set at a stage [N,D], at least three images, as `activations.features` gives them.
        path: of the trajectory at the same stage [M,D].

    Raises:
        DataError: for fewer than three images.
    """
    if len(features) < 3:
        raise DataError(f"at least three images are needed to span a plane, not {len(features)}")
    features, way = features.double(), path.double()
    mean = features.mean(0)
    _, values, directions = torch.linalg.svd(features - mean, full_matrices=False)
    plane = directions[:2].T
    # the sign of a principal component is arbitrary: make its largest entry positive
    plane = plane * plane.gather(0, plane.abs().argmax(0, keepdim=True)).sign()
    share = (values.square() / values.square().sum().clamp(min=1e-30)).tolist()
    return Embedding((features - mean) @ plane, (way - mean) @ plane, (share[0], share[1]))
