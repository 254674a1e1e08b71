"""What excites a unit, and what excites a random direction: is it the unit that carries meaning, or the space?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.types import DataError

TOP = 8
"""Images that are shown for a unit or a direction, as in the paper."""
DIRECTIONS = 100
"""Random directions whose purity is averaged."""
DRAWS = 1000
"""Blind draws whose purity is averaged."""


@dataclass(frozen=True)
class Space:
    """The features of a set of images at one stage.

    Attributes:
        features: [N,D], as `activations.features` gives them.
        labels: int64 [N].

    Raises:
        DataError: for fewer images than are shown.
    """

    features: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.features) < TOP:
            raise DataError(f"at least {TOP} images are needed to see what excites a unit, not {len(self.features)}")

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

    def chance(self, count: int = TOP, seed: int = 0) -> float:
        """The mean purity of images that are drawn blindly."""
        rng = torch.Generator().manual_seed(seed)
        return float(self._purities(torch.rand(len(self.labels), DRAWS, generator=rng), count).mean())

    def _purities(self, along: Tensor, count: int) -> Tensor:
        return _purity(self.labels[along.topk(min(count, len(along)), dim=0).indices.T])


def _purity(labels: Tensor) -> Tensor:
    """The share of the commonest label in each row [R,count]."""
    alike = (labels.unsqueeze(1) == labels.unsqueeze(2)).sum(2)
    return alike.amax(1) / labels.shape[1]
