"""A film of one attack on one image: what the player in the browser shows, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.figures.attack import NORM_NAMES, scaled, times
from lab.figures.pictures import amplify, data_url
from lab.types import Frame

MOST_POINTS = 400
"""Points that a curve keeps, besides those at which the film can be stopped."""


@dataclass(frozen=True)
class Kind:
    """What kind of attack it is, as far as its curves depend on it.

    Attributes:
        norm: the distance in which it is bounded or which it keeps small.
        targeted: whether a class was chosen to be reached.
        closest: whether the attack looks for the smallest change.
        by_queries: whether its progress is counted in queries of the model instead of in iterations.
        by_labels: whether it sees nothing but the model's label.
    """

    norm: str
    targeted: bool = False
    closest: bool = False
    by_queries: bool = False
    by_labels: bool = False


def best_so_far(frames: Sequence[Frame], row: int, norm: str) -> list[float | None]:
    """After each frame, the smallest distance at which the goal was reached; None as long as it was not."""
    best: float | None = None
    found = []
    for f in frames:
        if f.success[row]:
            here = float(f.distance[norm][row])
            best = here if best is None else min(best, here)
        found.append(best)
    return found


def film(frames: Sequence[Frame], clean: Tensor, row: int, classes: Sequence[str], kind: Kind) -> dict[str, Any]:
    """The trajectory of one image as pictures, curves and what is said at each of its stops, ready for JSON.

    Args:
        frames: the trace of the attack; the film can be stopped at those that kept their picture.
        clean: the clean image [C,H,W].
        row: which image of the batch.
        classes: class names.
        kind: of the attack.
    """
    stops = [i for i, f in enumerate(frames) if len(f.x)]
    largest = max((frames[i].x[row] - clean).abs().max().item() for i in stops)
    factor = amplify(frames[-1].x[row] - clean, largest)[1]  # one for all, so that the perturbation is seen to grow
    stride = max(1, len(frames) // MOST_POINTS)
    kept = sorted({*range(0, len(frames), stride), *stops})
    place = {i: n for n, i in enumerate(kept)}
    axis = [int(f.queries[row]) if kind.by_queries else f.step for f in frames]
    return {
        "axis": "queries of the model" if kind.by_queries else "iterations",
        "at": [axis[i] for i in kept],
        "amplified": f"perturbation, amplified {times(factor)}",
        "start": _best(frames, stops, row, kind),
        "curves": [_thinned(curve, kept) for curve in _curves(frames, row, kind)],
        "stops": [
            {
                "point": place[i],
                "step": frames[i].step,
                "text": moment(frames[i], classes, kind, row),
                "image": data_url(frames[i].x[row], 224),
                "perturbation": data_url(0.5 + (frames[i].x[row] - clean) * factor, 224),
            }
            for i in stops
        ],
    }


def _best(frames: Sequence[Frame], stops: Sequence[int], row: int, kind: Kind) -> int:
    """The stop shown first: the last, or for an attack that looks for the smallest change its closest success."""
    reached = [n for n, i in enumerate(stops) if kind.closest and frames[i].success[row]]
    return min(reached, key=lambda n: float(frames[stops[n]].distance[kind.norm][row]), default=len(stops) - 1)


def _thinned(curve: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """A curve at some of its points only."""
    return {k: [v[i] for i in kept] if k in ("values", "behind") else v for k, v in curve.items()}


def _curves(frames: Sequence[Frame], row: int, kind: Kind) -> list[dict[str, Any]]:
    """Title, values, what its axis covers at least, and unit of each curve; and values drawn faintly behind it."""
    margin = {
        "title": "margin in logits: below 0 the goal is reached",
        "values": [f.margin[row].item() for f in frames],
        "covers": [0],
        "unit": "",
    }
    confidence = {
        "title": "confidence in the class seen at that moment",
        "values": [100 * f.confidence[row].item() for f in frames],
        "covers": [0, 100],
        "unit": "%",
    }
    if kind.closest:
        unit = 255 if kind.norm == "linf" else 1
        smallest = {
            "title": f"smallest success so far, {NORM_NAMES[kind.norm]} (faint: at this moment)",
            "values": [None if d is None else d * unit for d in best_so_far(frames, row, kind.norm)],
            "behind": [float(f.distance[kind.norm][row]) * unit for f in frames],
            "covers": [0],
            "unit": "/255" if kind.norm == "linf" else "",
        }
        return [smallest, margin, confidence]
    of = "cross-entropy of the goal: the attack lowers it"
    if not kind.targeted:
        of = "cross-entropy of the class seen at first: the attack raises it"
    sign = -1 if kind.targeted else 1
    loss = {"title": of, "values": [sign * f.loss[row].item() for f in frames], "covers": [0], "unit": ""}
    return [margin, confidence, loss]


def moment(frame: Frame, classes: Sequence[str], kind: Kind, row: int = 0) -> str:
    """What is to be told of one iterate."""
    seen, sure = classes[int(frame.predictions[row])], frame.confidence[row].item()
    moved = scaled(frame.distance[kind.norm][row].item(), kind.norm)
    queries = int(frame.queries[row])
    spent = f", {queries:,} quer{'y' if queries == 1 else 'ies'}" if kind.by_queries else ""
    return f"Iteration {frame.step:,}{spent}: {seen} ({sure:.0%}), moved by {moved}"
