"""How much a loss weighs against the size of a perturbation: the search, per image, for the smallest that fools."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

GROWTH = 10.0
"""How much the weight grows while an image is not fooled."""
DECLINE = 2.0
"""How much it falls while no weight was too small."""


@dataclass(frozen=True)
class Weights:
    """The search, per image, for the smallest weight on the loss at which the image is still fooled.

    Attributes:
        value: the weight to try now [N].
        low: the largest weight that did not fool [N].
        high: the smallest that did [N], infinite until one did.
    """

    value: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def start(cls, first: float | Tensor, like: Tensor) -> Weights:
        """The first weight, one or one per image, for images like these [N,...]."""
        value = torch.zeros(len(like), dtype=like.dtype, device=like.device) + first
        return cls(value, torch.zeros_like(value), torch.full_like(value, math.inf))

    def after(self, fooled: Tensor) -> Weights:
        """The search once it is known which images [N] were fooled: between its ends (geometrically), or beyond one."""
        low = torch.where(fooled, self.low, self.value)
        high = torch.where(fooled, self.value, self.high)
        inside = torch.where(low > 0, (low * high).sqrt(), high / DECLINE)
        return Weights(torch.where(high.isinf(), self.value * GROWTH, inside), low, high)

    def rows(self, rows: Tensor) -> Weights:
        """The search for some of the images."""
        return Weights(self.value[rows], self.low[rows], self.high[rows])
