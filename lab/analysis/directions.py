"""What excites a unit, and what excites a random direction: is it the unit that carries meaning, or the space?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.analysis.activations import activations
from lab.types import DataError, Model

TOP = 8
"""Images that are shown for a unit or a direction, as in the paper."""
DIRECTIONS = 100
"""Random directions whose purity is averaged."""


@dataclass(frozen=True)
class Space:
    """The features of a set of images at one stage.

    Attributes:
        features: [N,D]; maps are averaged over their positions.
        labels: int64 [N].
    """

    features: Tensor
    labels: Tensor

    @classmethod
    def of(cls, model: Model, x: Tensor, labels: Tensor, layer: str) -> Space:
        """The features of images x [N,C,H,W] at a stage.

        Raises:
            DataError: for fewer images than are shown.
            ModelError: for a stage that does not exist.
        """
        if len(x) < TOP:
            raise DataError(f"at least {TOP} images are needed to see what excites a unit, not {len(x)}")
        return cls(pooled(activations(model, x, [layer])[layer]), labels.cpu())

    @property
    def units(self) -> int:
        """How many units there are."""
        return self.features.shape[1]

    def random(self, count: int, seed: int = 0) -> Tensor:
        """Random unit vectors [count,D]."""
        v = torch.randn(count, self.units, generator=torch.Generator().manual_seed(seed))
        unit: Tensor = v / v.norm(dim=1, keepdim=True)
        return unit

    def top(self, direction: Tensor | int, count: int = TOP) -> Tensor:
        """The images [count] that excite a unit, or a direction [D], most; the strongest first."""
        along = (
            self.features[:, direction] if isinstance(direction, int) else self.features @ direction.to(self.features)
        )
        return along.topk(min(count, len(along))).indices

    def purity(self, direction: Tensor | int, count: int = TOP) -> float:
        """The share of the commonest label among the images that excite a unit or a direction most."""
        return _purity(self.labels[self.top(direction, count)].unsqueeze(0))[0].item()

    def purities(self, count: int = TOP, seed: int = 0) -> tuple[Tensor, Tensor]:
        """The purity of every unit that is ever active [U], and of DIRECTIONS random directions."""
        units = self.features[:, self.features.std(dim=0) > 0]
        along = self.features @ self.random(DIRECTIONS, seed).T.to(self.features)
        return self._purities(units, count), self._purities(along, count)

    def _purities(self, along: Tensor, count: int) -> Tensor:
        return _purity(self.labels[along.topk(min(count, len(along)), dim=0).indices.T])


def pooled(features: Tensor) -> Tensor:
    """Features of any stage [N,...] as vectors [N,D]: maps averaged over positions, tokens over tokens."""
    if features.dim() == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.dim() == 3 else features


def _purity(labels: Tensor) -> Tensor:
    """The share of the commonest label in each row [R,count]."""
    counts = torch.nn.functional.one_hot(labels).sum(1)
    return counts.amax(1) / labels.shape[1]
