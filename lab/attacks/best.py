"""Which iterate is the result, image by image: the last, or the closest of those that reached the goal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lab.attacks.rows import Rows

NEARER = 1 - 1e-6
"""The share of a distance that another has to be below in order to be closer: rounding must not decide."""


class Best:
    """The iterate that is kept of every image.

    Attributes:
        x: the images kept [N,C,H,W]; the clean ones at first.
        logits: the logits at these [N,K], where they are known.
        distance: how far from the clean image the closest that reached the goal is [N]; infinite where none did.
    """

    def __init__(self, clean: Tensor, length: Callable[[Tensor], Tensor]) -> None:
        self.clean, self.length = clean, length
        self.x = clean
        self.logits: Tensor | None = None
        self.distance = torch.full((len(clean),), float("inf"), dtype=clean.dtype, device=clean.device)

    def last(self, x: Tensor, logits: Tensor | None) -> None:
        """Keeps an iterate of all images, whatever came before."""
        self.x, self.logits = x, logits

    def where(self, better: Tensor, x: Tensor, logits: Tensor, rows: Rows) -> None:
        """Keeps it of those images at work for which it is better, bool [n]."""
        self.logits = logits if self.logits is None else self.logits
        if better.any():
            self.x, self.logits = rows.put(self.x, x, better), rows.put(self.logits, logits, better)

    def closest(self, x: Tensor, logits: Tensor, hit: Tensor, rows: Rows) -> None:
        """Keeps it of the images that reach their goal with it, hit [n], nearer than before, or that never did."""
        known = rows.of(self.distance)
        length = self.length(x - rows.of(self.clean)).to(known)
        nearer = hit & (length < known * NEARER)
        self.distance = rows.put(self.distance, torch.where(nearer, length, known))
        self.where(nearer | (~hit & known.isinf()), x, logits, rows)
