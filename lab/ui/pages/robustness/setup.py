"""What the Robustness page asks, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lab.attacks import CATALOG
from lab.attacks.catalog import find_attack
from lab.experiments.robustness.curves import ROOM, Outcome, Robustness, settings
from lab.models.catalog import find_model
from lab.types import Access, LabError, ParamError
from lab.ui.shell.ask import Ask, model_name
from lab.ui.shell.words import short_name

NAME = "robustness"
MODELS: Mapping[str, tuple[str, ...]] = {
    "mnist": ("cnn", "cnn_fgsm_at", "cnn_distilled", "cnn_pgd_at"),
    "fashion_mnist": ("cnn", "cnn_fgsm_at", "cnn_distilled", "cnn_pgd_at"),
    "imagenet": ("efficientnet_lite0",),
}
"""Models to begin with, by task."""
ATTACKS = ("fgsm", "pgd")
"""Attacks to begin with."""
LARGEST: Mapping[str, Mapping[str, float]] = {
    "linf": {"mnist": 76.5, "fashion_mnist": 25.5, "imagenet": 4.0},
    "l2": {"mnist": 4.0, "fashion_mnist": 2.0, "imagenet": 2.0},
}
"""Largest epsilon to begin with; in L-infinity in 255ths."""
IMAGES = (20, 50, 100, 200, 500, 1000)
SIZES = (3, 5, 7, 9, 13)
ENOUGH = 20
"""Iterations from which on what an attack leaves standing is set against AutoAttack."""
SEEMING = 0.2
"""An accuracy that is larger than AutoAttack's by this share is not believed."""


@dataclass(frozen=True)
class Setup:
    """What the curves depend on."""

    task: str
    models: tuple[str, ...]
    attacks: tuple[str, ...]
    norm: str
    eps: tuple[float, ...]
    count: int | None
    steps: int
    seed: int

    @property
    def short(self) -> dict[str, str]:
        """The models' short names, for charts, by key."""
        return {key: short_name(key) for key in self.models}

    @property
    def names(self) -> dict[str, str]:
        """The models' names, for a person, by key."""
        return {key: model_name(key) for key in self.models}

    @property
    def methods(self) -> dict[str, str]:
        """The attacks' names, for a person, by key."""
        return {key: find_attack(key).name for key in self.attacks}


def choose(ask: Ask) -> Setup:
    """Draws the settings.

    Raises:
        ParamError: where no model or no attack is chosen.
    """
    task = ask.task(MODELS)
    models = ask.models(task, MODELS[task])
    norm = ask.norm(LARGEST)
    fitting = [key for key in CATALOG if _fits(key, norm)]
    attacks = ask.several(
        f"attacks_{norm}",
        "Attacks",
        fitting,
        [key for key in ATTACKS if key in fitting],
        format_func=lambda key: find_attack(key).name,
        help="Those that search for the smallest perturbation give the whole curve at once; others run at every "
        "epsilon, on the images that still stand.",
    )
    top = ask.epsilon(LARGEST[norm][task], name=f"eps_{norm}_{task}", norm=norm, label="Largest epsilon", low=0.1)
    sizes = ask.select("sizes", "Sizes of epsilon, with 0", SIZES, 5)
    steps = ask.steps(40, help="For every attack that has iterations.")
    count = None if task == "imagenet" else ask.images(IMAGES, 50)
    seed = ask.seed()
    if not models or not attacks:
        raise ParamError("choose at least one model and one attack")
    eps = tuple(top * k / (sizes - 1) for k in range(sizes))
    return Setup(task, models, attacks, norm, eps, count, steps, seed)


def _fits(key: str, norm: str) -> bool:
    """Whether an attack can be measured in this norm."""
    try:
        settings(key, norm, {})
    except LabError:
        return False
    return True


def finished(setup: Setup, result: Robustness) -> tuple[Outcome, ...]:
    """What was measured at every size that was asked for."""
    return tuple(o for o in result.outcomes if set(o.eps) >= set(setup.eps))


def is_strong(setup: Setup, outcomes: Sequence[Outcome]) -> bool:
    """Whether an attack among these follows the gradient for long enough that what it leaves says something."""
    follows = any(CATALOG[o.attack].access is Access.GRADIENTS and o.attack != "fgsm" for o in outcomes)
    return follows and setup.steps >= ENOUGH


def worst(result: Robustness, model: str, eps: float) -> float:
    """The share of images that stand all attacks at this size."""
    stands = torch.stack([o.right & (o.needed > eps * ROOM) for o in result.outcomes if o.model == model]).all(0)
    return float(stands.double().mean())


def ranking(setup: Setup, result: Robustness) -> list[str]:
    """The models, the one first that keeps most at the largest epsilon."""
    measured = list(dict.fromkeys(o.model for o in result.outcomes))
    return sorted(measured, key=lambda key: -worst(result, key, setup.eps[-1]))


def autoattack_if_lower(setup: Setup, result: Robustness, model: str) -> float | None:
    """A model's accuracy under AutoAttack on its card, where it is far below what these attacks leave; else None."""
    if setup.norm != "linf":
        return None
    eps = setup.eps[-1]
    card = find_model(model).card().measured("autoattack", eps)
    return card.accuracy if card and worst(result, model, eps) > card.accuracy + SEEMING else None
