"""CLEVER scores together with all that they depend on: what is kept, shown and taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.experiments.clever.distances import Reached
from lab.experiments.clever.score import Clever
from lab.records import finite

FIELDS = ("by_target", "margin", "slope", "location", "shape", "scale", "p_value")
"""What is written of every target."""


@dataclass(frozen=True)
class Estimate:
    """Scores of images of a data set.

    Attributes:
        clever: the scores.
        model: key of the model.
        dataset: key of the images' data set.
        ids: the images' names [N].
        classes: names of all classes.
        attacks: what attacks reached, where there is one image and they were run.
    """

    clever: Clever
    model: str
    dataset: str
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    attacks: tuple[Reached, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return self.clever.complete

    def record(self, *, maxima: bool = True) -> dict[str, Any]:
        """Scores and fits as plain numbers; None stands for what was not fitted, or not reached.

        Args:
            maxima: whether the largest value of every batch is in it, a number for each target and batch.
        """
        scores, sampling = self.clever, self.clever.sampling
        images: list[dict[str, Any]] = [
            {
                "id": name,
                "seen": self.classes[int(scores.seen[i])],
                "score": float(scores.scores[i]),
                "targets": {row["target"]: {field: finite(row[field]) for field in FIELDS} for row in self._rows(i)},
                **({"maxima": scores.maxima[i].tolist()} if maxima else {}),
                **({"attacks": {a.attack: finite(a.distance) for a in self.attacks}} if self.attacks else {}),
            }
            for i, name in enumerate(self.ids[: len(scores.scores)])
        ]
        return {
            "model": self.model,
            "dataset": self.dataset,
            "norm": sampling.number,
            "batches": int(scores.maxima.shape[2]),
            "samples": sampling.samples,
            "radius": sampling.radius,
            "order": sampling.order,
            "seed": sampling.seed,
            "complete": scores.complete,
            "images": images,
        }

    def rows(self) -> list[dict[str, Any]]:
        """The score and the fit of every image and target."""
        return [row for i in range(len(self.clever.scores)) for row in self._rows(i)]

    def _rows(self, i: int) -> list[dict[str, Any]]:
        return [
            {
                "image": self.ids[i],
                "target": self.classes[target],
                **{field: float(getattr(self.clever, field)[i, t]) for field in FIELDS},
            }
            for t, target in enumerate(self.clever.targets[i].tolist())
        ]
