"""The frames of an attack: what is measured of every iterate, and the pictures of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from lab.attacks.norms import Distances
from lab.attacks.rows import Rows
from lab.types import Frame, Goal


class Film:
    """The frames of one chunk of images, one an iterate, with all images in each.

    Attributes:
        frames: so far.
        most: how many of them keep their pictures, evenly spread; None for all.
    """

    def __init__(self, clean: Tensor, goal: Goal, most: int | None) -> None:
        self.origin, self.goal, self.most = clean.cpu(), goal, most
        self.frames: list[Frame] = []
        self.stride = 1
        self._now: tuple[Tensor, Tensor] | None = None

    def take(self, step: int, x: Tensor, logits: Tensor, queries: Tensor, rows: Rows) -> None:
        """Appends a frame for an iterate of the images at work; the others stay as they were."""
        if self._now is not None:
            x, logits = rows.put(self._now[0], x), rows.put(self._now[1], logits)
        self._now = x, logits
        self.frames.append(self._frame(step, x, logits, queries))
        if self.most is not None:
            self._thin(self.most)

    def _frame(self, step: int, x: Tensor, logits: Tensor, queries: Tensor) -> Frame:
        predictions = logits.argmax(1)
        return Frame(
            step=step,
            x=x.cpu(),
            loss=_from_zero(self.goal.loss(logits), self.goal).cpu(),
            margin=self.goal.margin(logits).cpu(),
            predictions=predictions.cpu(),
            confidence=logits.softmax(1).amax(1).cpu(),
            distance=Distances(x.cpu(), self.origin),
            success=self.goal.reached(predictions).cpu(),
            queries=queries.clone(),
        )

    def _thin(self, most: int) -> None:
        """Blanks the last frame but one if it is not to stay, and every second picture where there are too many."""
        if len(self.frames) > 1 and self.frames[-2].step % self.stride:
            self.frames[-2] = blank(self.frames[-2])
        if sum(len(f.x) > 0 for f in self.frames) > max(2, most):
            self.stride *= 2
            self.frames[:-1] = [blank(f) if f.step % self.stride else f for f in self.frames[:-1]]


def blank(frame: Frame) -> Frame:
    """A frame without its picture."""
    return replace(frame, x=frame.x[:0], distance=dict(frame.distance))


def side_by_side(films: Sequence[tuple[Frame, ...]]) -> tuple[Frame, ...]:
    """The frames of several chunks, those of the same step as one; a chunk that ended earlier repeats its last one."""
    if len(films) < 2:
        return films[0] if films else ()
    names = [f.name for f in fields(Frame) if f.name not in ("step", "distance")]
    joined = []
    for step in range(max(map(len, films))):
        at = [film[min(step, len(film) - 1)] for film in films]
        if not all(len(f.x) for f in at):
            at = [blank(f) for f in at]
        merged = {name: torch.cat([getattr(f, name) for f in at]) for name in names}
        distance = {k: torch.cat([f.distance[k] for f in at]) for k in at[0].distance}
        joined.append(replace(at[0], step=step, distance=distance, **merged))
    return tuple(joined)


def _from_zero(loss: Tensor, goal: Goal) -> Tensor:
    """The loss as a cross-entropy, which is on one side of 0."""
    return loss.clamp(max=0) if goal.targeted else loss.clamp(min=0)
