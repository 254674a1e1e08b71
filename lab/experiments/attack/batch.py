"""One attack on many images, measured image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.experiments.attack.report import flat, measures
from lab.images import Images
from lab.types import Result


@dataclass(frozen=True, eq=False)
class AttackedImages:
    """What one attack did to many images.

    Attributes:
        model: key of the model.
        attack: key of the attack.
        params: its parameters, as they were given.
        target: the class to reach, None for any other.
        seed: of the random numbers.
        classes: the model's class names.
        images: the clean images, with their classes and ids.
        clean: the class that the model sees in each clean image, int64 [N].
        result: of the attack.
        restarts: how often it was run at most.
        draws: looks that each answer of a random model was averaged over.
    """

    model: str
    attack: str
    params: Mapping[str, Any]
    target: int | None
    seed: int
    classes: tuple[str, ...]
    images: Images
    clean: Tensor
    result: Result
    restarts: int = 1
    draws: int = 1

    def summary(self) -> dict[str, Any]:
        """Accuracies, the share of success and the distances over all images."""
        right, success = self.clean == self.images.y, self.result.success.cpu()
        return {
            "images": len(self.images),
            "clean_accuracy": right.float().mean().item(),
            "attacked_accuracy": (self.result.predictions.cpu() == self.images.y).float().mean().item(),
            "success_on_right": (success & right).sum().item() / max(1, int(right.sum())),
            "mean_l2": self.result.distance["l2"].mean().item(),
            "largest_linf": self.result.distance["linf"].max().item(),
        }

    def record(self) -> dict[str, Any]:
        """Everything that was measured, and what it depends on, as JSON can hold it."""
        about = {"model": self.model, "attack": self.attack, "params": dict(self.params), "target": self.target}
        images = [self._image(i) for i in range(len(self.images))]
        about |= {"seed": self.seed, "restarts": self.restarts, "draws": self.draws}
        return about | {"summary": self.summary(), "images": images}

    def rows(self) -> list[dict[str, Any]]:
        """The measures, one row an image."""
        return [flat(self._image(i)) for i in range(len(self.images))]

    def _image(self, i: int) -> dict[str, Any]:
        attacked = int(self.result.predictions[i])
        return {
            "id": self.images.ids[i],
            "label": int(self.images.y[i]),
            "clean_class": int(self.clean[i]),
            "attacked_class": attacked,
            "attacked_name": self.classes[attacked],
            "confidence": self.result.confidence[i].item(),
            **measures(self.result, i),
        }
