"""What the Transfer page asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from lab.data import load_data
from lab.data.catalog import of_task
from lab.models.catalog import find_model
from lab.types import DataError
from lab.ui.parts.pickers import pick_method, start_sizes
from lab.ui.parts.scenario import Method
from lab.ui.shell import trained
from lab.ui.shell.ask import Ask, model_name
from lab.ui.shell.words import short_name

NAME = "transfer"
MODELS: Mapping[str, tuple[str, ...]] = {
    "mnist": ("softmax", "mlp", "maxout", "rbf", "cnn_half_a", "cnn_half_b", "cnn_pgd_at"),
    "fashion_mnist": ("softmax", "mlp", "maxout", "rbf", "cnn_half_a", "cnn_half_b", "cnn_pgd_at"),
    "imagenet": ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
}
"""Models to begin with, by task."""
DEFAULT_ATTACK = "mi_fgsm"
IMAGES = (20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Setup:
    """What the matrix depends on."""

    task: str
    models: tuple[str, ...]
    count: int
    method: Method
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
    def eps(self) -> float:
        """The chosen epsilon in L-infinity; one that suits the data where the attack has none."""
        values = self.method.params
        chosen = values.get("eps") if values.get("norm", "linf") == "linf" else None
        return float(chosen or 0) or float(start_sizes(self.task)["eps"] or 0) / 255

    @property
    def steps(self) -> int:
        """The chosen number of steps; ten where the attack has none."""
        return int(self.method.params.get("steps") or 10)


def choose(ask: Ask) -> Setup | None:
    """Draws the settings.

    Raises:
        DataError: for fewer than two models.
    """
    task = ask.task(MODELS, on_change=_new_task)
    models = ask.models(task, MODELS[task], help="Each is attacked, and each is shown the images made on all of them.")
    card = find_model(trained.keys(task)[0]).card()
    if task == "imagenet":
        count = len(load_data(of_task(task).key, card=card))
    else:
        count = ask.images(
            IMAGES, 100, help="The first images of the set. Only those that all models classify correctly count."
        )
    method = pick_method(ask, card, DEFAULT_ATTACK)
    seed = ask.seed()
    if len(models) < 2:
        raise DataError("choose at least two models: transfer is what happens between them")
    return None if method is None else Setup(task, models, count, method, seed)


def _new_task() -> None:
    """Another data set needs other sizes of perturbation."""
    ask = Ask(NAME)
    for name, size in start_sizes(str(st.session_state[ask.key("task")])).items():
        st.session_state[ask.key(name)] = size
