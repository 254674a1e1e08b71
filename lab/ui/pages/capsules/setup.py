"""What the Capsules page asks, and what its tabs have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lab.attacks.catalog import find_attack
from lab.data import load_data
from lab.data.catalog import of_task
from lab.defenses.detect import capsules_of
from lab.experiments.capsules.look import calibrate
from lab.experiments.capsules.rivals import WHITE
from lab.experiments.defenses.attackers import Attackers, Detection
from lab.images import Images
from lab.models.capsnet import CapsNet
from lab.models.catalog import find_model
from lab.ui.parts.pickers import EPS
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask, model_name
from lab.ui.shell.words import name_of

NAME = "capsules"
TASKS = ("mnist", "fashion_mnist")
FIRST = 1000
"""Images that can be attacked; as many after them set the detector's threshold and measure it."""
COUNTS = (20, 50, 100, 200, 500)
FALSE_ALARMS = (1, 2, 5, 10, 20)
"""False-positive rates in percent."""
PICTURE_WIDTH = 168
"""Width in pixels of pictures that stand in a row."""


@dataclass(frozen=True)
class Setup:
    """What the page shows."""

    task: str
    image: int
    attack: str
    eps: float
    steps: int
    count: int
    rate: float
    seed: int
    rival: str

    @property
    def models(self) -> tuple[str, str]:
        """Keys of the capsule network and of the net that it is compared with."""
        return f"{self.task}/capsnet", self.rival

    @property
    def names(self) -> Mapping[str, str]:
        """The names of both networks for a person, by key."""
        return {key: model_name(key) for key in self.models}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return find_model(self.models[0]).card().classes

    @property
    def dataset(self) -> str:
        """Key of the images' data set."""
        return of_task(self.task).key

    def attackers(self, key: str) -> Attackers:
        """An attack with the settings that it takes; one that searches for the smallest change keeps its own."""
        known = {p.name for p in find_attack(key).params}
        given: dict[str, Any] = {"eps": self.eps, "steps": self.steps}
        params = {name: value for name, value in given.items() if name in known} if "eps" in known else {}
        return Attackers(key, params, self.seed)

    def images(self, start: int, stop: int) -> Images:
        """Images of the data set."""
        return load_data(self.dataset).rows(slice(start, stop))

    @property
    def net(self) -> CapsNet:
        """The capsule network itself."""
        return capsules_of(cache.model(self.models[0]))


def choose(ask: Ask) -> Setup:
    """Draws the settings."""
    task = ask.task(TASKS)
    image = ask.whole(f"image_{task}", f"Image number, 0 to {FIRST - 1}", 0, FIRST - 1, 0)
    attack = ask.select(
        "attack",
        "Attack",
        WHITE,
        "bim",
        format_func=name_of,
        help="Run on the one image, away from the class that the capsule network sees in it.",
    )
    eps = ask.epsilon(
        EPS["linf"][task],
        name=f"eps_{task}",
        low=0.0,
        help="The largest change of any pixel, for all attacks; the curves go up to it.",
    )
    steps = ask.steps(20, help="For every attack that iterates.")
    seed = ask.seed()
    count = ask.slide(
        "count",
        "Images of the curves",
        COUNTS,
        50,
        help="The first images of the set, for “More robust?” and “Detector”.",
    )
    rival = ask.chosen_model(
        f"rival_{task}",
        "Compared with",
        [key for key in trained.keys(task) if not key.endswith("/capsnet")],
        f"{task}/cnn",
        format_func=model_name,
        help="In “More robust?”. A net trained with less care falls sooner, which makes the capsules look better.",
    )
    rate = ask.slide(
        "rate",
        "False alarms allowed",
        FALSE_ALARMS,
        5,
        format_func=lambda r: f"{r}%",
        help="The share of clean images that the detector may flag; it decides the threshold.",
    )
    return Setup(task, image, attack, eps, steps, count, rate / 100, seed, rival)


@lru_cache(maxsize=16)
def detection_of(task: str, rate: float, seed: int) -> Detection:
    """The detector of a data set before any attack; the same as in the tab."""
    clean = load_data(of_task(task).key).rows(slice(FIRST, 2 * FIRST))
    return calibrate(cache.model(f"{task}/capsnet"), clean.x, clean.y, rate=rate, seed=seed)
