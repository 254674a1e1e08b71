"""Small shared pieces: a batch of labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        x: float32 [N,C,H,W] in [0,1].
        y: int64 [N].
        ids: one name per image, stable across versions.
    """

    x: Tensor
    y: Tensor
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Sequence[int] | slice) -> Images:
        """Some of the images."""
        chosen = range(len(self))[index] if isinstance(index, slice) else index
        return Images(self.x[list(chosen)], self.y[list(chosen)], [self.ids[i] for i in chosen])


def from_bytes(x: Tensor) -> Tensor:
    """Bytes [N,H,W] or [N,C,H,W] -> images float32 [N,C,H,W] in [0,1]."""
    x = x.unsqueeze(1) if x.dim() == 3 else x
    return x.to(torch.float32) / 255
