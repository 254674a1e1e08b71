"""The distance of a capsule network's drawing as a detector, under attackers who do not know it and one who does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.attacks.catalog import find_attack
from lab.defenses.detect import Reconstruction, Roc
from lab.experiments.defenses.attackers import Attackers, Detection, detected
from lab.images import Images
from lab.progress import SILENT, Progress
from lab.types import Model

ATTACKS = ("fgsm", "bim", "pgd", "cw")
"""Attacks by those who do not know the detector."""
KNOWING = "pgd"
"""The attack that is also made by one who knows it."""


@dataclass(frozen=True)
class Tried:
    """One attacker of the detector: the attack, "oblivious" or "adaptive", and what the detector makes of it."""

    attack: str
    attacker: str
    detection: Detection

    @property
    def name(self) -> str:
        """What the attack is called."""
        name = find_attack(self.attack).name
        return f"Reconstructive {name}" if self.attacker == "adaptive" else name

    @property
    def fooled(self) -> Tensor:
        """Which images the network classes wrong [N]."""
        return self.detection.trial(self.attacker).seen != self.detection.y

    @property
    def scores(self) -> Tensor | None:
        """The distances of the attacked images that fool the network from their drawings [M]."""
        scores = self.detection.trial(self.attacker).scores
        return None if scores is None else scores[self.fooled]

    @property
    def detected(self) -> float | None:
        """The share of those that is detected; None where none fools the network."""
        return self.detection.detected(self.attacker)

    @property
    def undetected(self) -> float:
        """The share of all images that are classed wrong and not detected."""
        return float((self.fooled & ~self.detection.trial(self.attacker).flagged).double().mean())

    @property
    def curve(self) -> Roc | None:
        """The ROC curve; None where no image fools the network."""
        return self.detection.curve(self.attacker)


@dataclass(frozen=True)
class Drawing:
    """The detector under all attackers so far, together with what the figures depend on.

    Attributes:
        tried: one for each attacker.
        model: key of the capsule network.
        dataset: key of the images' data set.
        params: of the attacks, by their keys.
        seed: of the attacks.
    """

    tried: tuple[Tried, ...]
    model: str
    dataset: str
    params: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
    seed: int

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return {tried.attack for tried in self.tried} >= {key for key, _ in self.params} and any(
            tried.attacker == "adaptive" for tried in self.tried
        )

    @property
    def detection(self) -> Detection:
        """The detector, with its threshold."""
        return self.tried[0].detection

    def record(self) -> dict[str, Any]:
        """The table, and what it depends on."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "params": {key: dict(params) for key, params in self.params},
            "seed": self.seed,
            "detector": {
                "threshold": self.detection.limit,
                "set for": self.detection.rate,
                "false positives": self.detection.false,
            },
            "attacks": self.rows(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Under each attack: how many images fool the network, and how many of them are detected."""
        return [
            {
                "attack": tried.name,
                "fools": float(tried.fooled.double().mean()),
                "detected of those": tried.detected,
                "wrong and undetected": tried.undetected,
                "area under ROC": None if tried.curve is None else tried.curve.area,
                "images": len(tried.fooled),
            }
            for tried in self.tried
        ]


def attempts(
    model: Model,
    clean: Tensor,
    plan: Sequence[tuple[Attackers, Images]],
    *,
    rate: float,
    progress: Progress = SILENT,
) -> Iterator[tuple[Tried, ...]]:
    """Attacks what the detector is to flag, one attacker after the other.

    Args:
        model: the capsule network.
        clean: images [M,C,H,W], of which a random half sets the threshold.
        plan: attacks, each with its images, not among `clean`.
        rate: false-positive rate that the threshold is set for.
        progress: hears of the attack at work.

    Raises:
        Cancelled: where it was stopped; what was yielded before is whole.
    """
    tried: tuple[Tried, ...] = ()
    for k, (attackers, data) in enumerate(plan):
        key, part = attackers.attack, progress.part(k / len(plan), (k + 1) / len(plan), attackers.attack)
        part.tell(0.0)
        for detection in detected(Reconstruction(), model, clean, data.x, data.y, attackers, rate=rate, progress=part):
            attacker = "adaptive" if len(detection.trials) > 2 else detection.trials[-1].attacker
            if attacker != "none":
                tried = (*tried, Tried(key, attacker, detection))
                yield tried
            if attacker == "oblivious" and key != KNOWING:
                break
