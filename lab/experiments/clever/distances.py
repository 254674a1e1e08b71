"""The smallest distortions that attacks find around one image: what a lower bound has to stay under."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.attacks import attack
from lab.attacks.catalog import find_attack
from lab.predict import classes_of
from lab.progress import SILENT, Progress
from lab.types import Model

ATTACKS = ("cw", "deepfool", "lbfgs", "fmn")
"""Those that search for the smallest distortion."""
LARGE: Mapping[str, Mapping[str, Any]] = {"cw": {"searches": 3, "steps": 50}, "lbfgs": {"searches": 3, "steps": 30}}
"""Smaller budgets for large images, by attack."""
LARGE_IMAGE = 10_000
"""Values from which an image is large."""


@dataclass(frozen=True)
class Reached:
    """How near one attack came: its key, the distance (infinite without success), and the class that it reached."""

    attack: str
    distance: float
    label: int


def reached(
    model: Model,
    x: Tensor,
    norm: str,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Iterator[Reached]:
    """Runs the minimum-norm attacks on one image, one after the other.

    Those that keep another norm small count with the distance that they reached in the one asked for: every adversarial
    image is an upper bound of the smallest distance, in any norm.

    Args:
        model: images -> logits.
        x: one image [1,C,H,W].
        norm: "l1", "l2" or "linf".
        seed: of the attacks.
        progress: hears of the attack at work.

    Raises:
        LabError: as `lab.attack`.
        Cancelled: where the work is to stop; the attack that was at work counts for nothing.
    """
    y = classes_of(model, x).to(x.device)
    for k, key in enumerate(ATTACKS):
        part = progress.part(k / len(ATTACKS), (k + 1) / len(ATTACKS), key)
        part.tell(0.0)
        params = dict(LARGE.get(key, {})) if x.numel() > LARGE_IMAGE else {}
        offered = next((p.choices for p in find_attack(key).params if p.name == "norm"), ())
        if norm in offered:
            params["norm"] = norm
        result = attack(key, model, x, y, seed=seed, progress=part, **params)
        part.check()
        distance = float(result.distance[norm][0]) if bool(result.success[0]) else math.inf
        yield Reached(key, distance, int(result.predictions[0]))


def nearest(distances: tuple[Reached, ...]) -> Reached | None:
    """The attack that came nearest, where any got there."""
    best = min(distances, key=lambda each: each.distance, default=None)
    return best if best is not None and math.isfinite(best.distance) else None
