"""Which images of a chunk an attack still works on, and what it has cost each of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lab.attacks.norms import per_row
from lab.types import Iterate


class Rows:
    """The images still at work, by their place in the chunk.

    Attributes:
        at: their places, int64 [n].
        whole: whether that is still every image.
    """

    def __init__(self, like: Tensor) -> None:
        self.at = torch.arange(len(like), device=like.device)
        self.whole = True

    def live(self, it: Iterate) -> Iterate:
        """An iterate of the images still at work, also where the attack goes on with all."""
        if len(it.x) == len(self.at):
            return it
        logits, settled, hit = (None if t is None else t[self.at] for t in (it.logits, it.settled, it.hit))
        return replace(it, x=it.x[self.at], logits=logits, settled=settled, hit=hit)

    def of(self, every: Tensor) -> Tensor:
        """What a tensor [N,...] of all images says of those at work [n,...]."""
        return every if self.whole else every[self.at]

    def put(self, into: Tensor, new: Tensor, where: Tensor | None = None) -> Tensor:
        """A tensor [N,...] of all images with the new rows [n,...] of those at work, of all or `where` true [n]."""
        if self.whole:
            return new if where is None else torch.where(per_row(where, into), new, into)
        into = into.clone()
        into[self.at if where is None else self.at[where]] = new if where is None else new[where]
        return into

    def leave(self, done: Tensor) -> Tensor | None:
        """Lets go of the images that are done [n]; the rows [n'] of the last iterate to go on with, None for all."""
        if not done.any():
            return None
        live = (~done).nonzero().flatten()
        self.at, self.whole = self.at[live], False
        return live


class Passes:
    """How many forward and backward passes each image has cost, int64 [N], on the CPU."""

    def __init__(self, images: int) -> None:
        self.forwards = torch.zeros(images, dtype=torch.int64)
        self.backwards = torch.zeros(images, dtype=torch.int64)

    def share(self, forwards: int, backwards: int, images: int, rows: Rows) -> None:
        """Shares out what was spent since the last iterate, of so many images, among those at work."""
        for passes, spent in ((self.forwards, forwards), (self.backwards, backwards)):
            each = -(-spent // images)
            if rows.whole:
                passes += each
            else:
                passes[rows.at.cpu()] += each
