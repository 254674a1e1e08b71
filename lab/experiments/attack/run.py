"""One attack on one image, with everything that a person wants to see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.attacks import attack
from lab.attacks.catalog import find_attack
from lab.attacks.norms import NORMS
from lab.attacks.validate import make_goal
from lab.experiments.attack.spectrum import similarity
from lab.predict import logits_of
from lab.progress import SILENT, Progress
from lab.types import Goal, Model, Result

MOST_PICTURES = 16
"""Pictures of the trajectory that a study keeps."""


@dataclass(frozen=True)
class AttackRun:
    """One attack on one image.

    Attributes:
        clean: the image [1,C,H,W], on the CPU.
        seen: the class that the model sees in it.
        goal: to leave that class, or to reach another.
        clean_p: class probabilities of the clean image [K].
        attacked_p: class probabilities of the attacked image [K].
        result: of the attack, traced with at most MOST_PICTURES pictures.
        ssim: structural similarity of the two images.
        norm: in which the attack is bounded, or which it keeps small: "linf", "l2" or "l0".
    """

    clean: Tensor
    seen: int
    goal: Goal
    clean_p: Tensor
    attacked_p: Tensor
    result: Result
    ssim: float
    norm: str

    @property
    def delta(self) -> Tensor:
        """The perturbation [1,C,H,W]."""
        return self.result.x - self.clean

    @property
    def now(self) -> int:
        """The class that the model sees in the attacked image."""
        return int(self.result.predictions[0])

    @property
    def line_norm(self) -> str:
        """The norm in which distance along the perturbation is told; the number of values does not change along it."""
        return self.norm if self.norm in NORMS else "l2"

    @property
    def fooled(self) -> bool:
        """Whether the goal is reached."""
        return bool(self.result.success[0])

    @property
    def moved(self) -> float:
        """The size of the perturbation in the attack's norm."""
        return self.result.distance[self.norm][0].item()


def run_one(
    model: Model,
    x: Tensor,
    key: str,
    *,
    target: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    params: Mapping[str, Any] | None = None,
) -> AttackRun:
    """Attacks one image [1,C,H,W] away from the class that the model sees in it, or towards a target class.

    The class that the model sees is what a person watches change, so it is what the attack leaves, even where the model
    is wrong about the clean image.

    Raises:
        LabError: as `lab.attack`.
    """
    params = dict(params or {})
    clean_logits = logits_of(model, x)
    seen = int(clean_logits.argmax(1)[0])
    result = attack(key, model, x, seen, target=target, seed=seed, trace=MOST_PICTURES, progress=progress, **params)
    return AttackRun(
        clean=x.cpu(),
        seen=seen,
        goal=make_goal(x.cpu(), seen, target),
        clean_p=clean_logits[0].softmax(0),
        attacked_p=logits_of(model, result.x)[0].softmax(0),
        result=result,
        ssim=similarity(result.x, x),
        norm=find_attack(key).measured_in(params),
    )
