"""One attack on one image, with everything that a person wants to see of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from torch import Tensor

from lab import devices
from lab.attacks import attack
from lab.attacks.catalog import find_attack
from lab.attacks.norms import NORMS
from lab.attacks.spec import Spec
from lab.experiments.attack.report import flat, measures
from lab.experiments.attack.request import Request
from lab.experiments.attack.spectrum import similarity
from lab.gate import make_goal
from lab.packed import archive
from lab.predict import logits_of
from lab.progress import SILENT, Progress
from lab.types import Goal, GoalError, Model, Result

MOST_PICTURES = 16
"""Pictures of the trajectory that a run keeps."""
PACKAGES = ("torch", "torchvision", "numpy", "pillow")
"""Their versions are part of the record."""


@dataclass(frozen=True, eq=False)
class AttackRun:
    """One attack on one image; it is equal to nothing but itself, so that it is the key of what is made from it.

    Attributes:
        request: what was asked for.
        classes: the model's class names.
        clean: the image [1,C,H,W], on the CPU.
        clean_class: the class that the model sees in it.
        goal: to leave that class, or to reach another.
        clean_probabilities: of the classes in the clean image [K].
        attacked_probabilities: of the classes in the attacked image [K].
        result: of the attack, traced with at most MOST_PICTURES pictures.
        ssim: structural similarity of the two images.
    """

    request: Request
    classes: tuple[str, ...]
    clean: Tensor
    clean_class: int
    goal: Goal
    clean_probabilities: Tensor
    attacked_probabilities: Tensor
    result: Result
    ssim: float

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return self.result.complete

    @property
    def spec(self) -> Spec:
        """The attack's entry in the catalogue."""
        return find_attack(self.request.attack)

    @property
    def norm(self) -> str:
        """The norm in which the attack is bounded, or which it keeps small: "linf", "l2", "l1" or "l0"."""
        return self.spec.measured_in(self.request.params)

    @property
    def line_norm(self) -> str:
        """The norm in which distance along the perturbation is told; the number of values does not change along it."""
        return self.norm if self.norm in NORMS else "l2"

    @property
    def attacked(self) -> Tensor:
        """The attacked image [1,C,H,W], on the CPU."""
        return self.result.x.cpu()

    @property
    def delta(self) -> Tensor:
        """The perturbation [1,C,H,W]."""
        return self.result.x - self.clean

    @property
    def size(self) -> float:
        """The size of the perturbation in the attack's norm; 0 where the image did not move."""
        return self.result.distance[self.norm][0].item()

    @property
    def attacked_class(self) -> int:
        """The class that the model sees in the attacked image."""
        return int(self.result.predictions[0])

    @property
    def clean_name(self) -> str:
        """The name of the class that the model sees in the clean image."""
        return self.classes[self.clean_class]

    @property
    def attacked_name(self) -> str:
        """The name of the class that the model sees in the attacked image."""
        return self.classes[self.attacked_class]

    @property
    def success(self) -> bool:
        """Whether the goal is reached."""
        return bool(self.result.success[0])

    def record(self) -> dict[str, Any]:
        """What was asked for, parameters, seed, results, versions and device, as JSON can hold it."""
        request, target = self.request, self.request.target
        clean, attacked = self._seen(self.clean_class), self._seen(self.attacked_class)
        return {
            "model": request.model,
            "image": {
                "dataset": request.dataset,
                "id": request.image,
                "window": request.window,
                "shape": list(self.clean.shape[1:]),
            },
            "attack": request.attack,
            "params": dict(request.params),
            "target": None if target is None else self._seen(target),
            "seed": request.seed,
            "result": {
                **measures(self.result),
                "complete": self.result.complete,
                "clean": {**clean, "confidence": self.clean_probabilities.max().item()},
                "attacked": {**attacked, "confidence": self.result.confidence[0].item()},
                "ssim": self.ssim,
            },
            "device": devices.describe(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        }

    def rows(self) -> list[dict[str, Any]]:
        """The measures as a table of one row."""
        request = self.request
        about = {"model": request.model, "attack": request.attack, "image": request.image, "seed": request.seed}
        classes = {"clean_class": self.clean_name, "attacked_class": self.attacked_name}
        confidence = {"confidence": self.result.confidence[0].item(), "ssim": self.ssim}
        return [about | classes | confidence | flat(measures(self.result))]

    def arrays(self) -> bytes:
        """An .npz archive: the clean and the attacked image, their difference and the probabilities, 32-bit floats."""
        return archive(
            {
                "clean": self.clean[0],
                "attacked": self.attacked[0],
                "perturbation": self.delta[0],
                "clean_probabilities": self.clean_probabilities,
                "attacked_probabilities": self.attacked_probabilities,
            }
        )

    def _seen(self, index: int) -> dict[str, Any]:
        return {"class": index, "name": self.classes[index]}


def run_attack(
    request: Request, model: Model, x: Tensor, classes: tuple[str, ...], *, progress: Progress = SILENT
) -> AttackRun:
    """Attacks one image away from the class that the model sees in it, or towards a target class.

    The class that the model sees is what a person watches change, so it is what the attack leaves, even where the model
    is wrong about the clean image.

    Args:
        request: the attack, its parameters, the target and the seed.
        model: images -> logits.
        x: the image [1,C,H,W].
        classes: the names of the model's classes.
        progress: hears of the iterations; where it stops the work, the run is what the attack had by then.

    Raises:
        LabError: as `lab.attack`.
    """
    clean_logits = logits_of(model, x)
    clean_class = int(clean_logits.argmax(1)[0])
    if clean_class == request.target:
        raise GoalError(f"the model sees {classes[clean_class]} in this picture already: choose another goal")
    result = attack(
        request.attack,
        model,
        x,
        clean_class,
        target=request.target,
        seed=request.seed,
        trace=MOST_PICTURES,
        progress=progress,
        **request.params,
    )
    return AttackRun(
        request=request,
        classes=classes,
        clean=x.cpu(),
        clean_class=clean_class,
        goal=make_goal(x.cpu(), clean_class, request.target),
        clean_probabilities=clean_logits[0].softmax(0),
        attacked_probabilities=logits_of(model, result.x)[0].softmax(0),
        result=result,
        ssim=similarity(result.x, x),
    )
