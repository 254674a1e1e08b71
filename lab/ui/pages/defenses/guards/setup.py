"""What the view of transformations and detectors asks, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from lab.attacks.catalog import find_attack
from lab.defenses.catalog import CATALOG, DETECTORS
from lab.defenses.spec import DefenseSpec
from lab.experiments.defenses.attackers import Attackers
from lab.figures.attack import scaled
from lab.models.cards import Card
from lab.models.catalog import find_model, is_here
from lab.params import Value
from lab.ui.parts.describe import short_citation
from lab.ui.parts.forms import form
from lab.ui.shell import trained
from lab.ui.shell.ask import Ask, model_name

NAME = "guards"
DISTILLATION, DISTILLED = "distillation", "Defensive distillation"
DEFENSES: Mapping[str, str] = {"mnist": "bit_depth", "fashion_mnist": "resize_pad", "imagenet": "jpeg"}
"""The defense to begin with, by task."""
EPSILONS: Mapping[str, float] = {"mnist": 114.75, "fashion_mnist": 8.0, "imagenet": 2.0}
"""Epsilon to begin with, in 255ths."""
NETS: Mapping[str, str] = {"mnist": "cnn", "fashion_mnist": "cnn", "imagenet": "efficientnet_lite0"}
"""The model to begin with."""
ATTACKS = ("pgd", "fgsm", "bim", "mi_fgsm", "cw")
COUNTS = {"mnist": (20, 50, 100, 200, 500), "fashion_mnist": (20, 50, 100, 200, 500), "imagenet": (4, 8, 12, 20)}
"""Images to choose from, by task."""
COUNT = {"mnist": 100, "fashion_mnist": 100, "imagenet": 8}
"""Images to begin with."""
STEPS = {"mnist": 40, "fashion_mnist": 40, "imagenet": 10}
"""Iterations to begin with."""
RATES = (1, 2, 5, 10, 20)
"""False-positive rates to choose from, in percent."""


@dataclass(frozen=True)
class Setup:
    """What the result depends on."""

    task: str
    defense: str
    params: tuple[tuple[str, Value], ...]
    model: str
    attack: str
    eps: float
    steps: int
    count: int
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """The defense, for a person."""
        return DISTILLED if self.defense == DISTILLATION else spec_of(self.defense).name

    @property
    def inline(self) -> str:
        """The name within a sentence."""
        return self.name if self.name.isupper() else self.name[0].lower() + self.name[1:]

    @property
    def card(self) -> Card:
        """The card of the model that is defended."""
        return find_model(self.model).card()

    @property
    def method(self) -> str:
        """The attack, for a person."""
        size = f" at {scaled(self.eps, 'linf')}" if self.attack != "cw" else ""
        return f"{find_attack(self.attack).name}{size}"

    @property
    def attackers(self) -> Attackers:
        """How images are attacked; every attack takes the step that suits its epsilon."""
        known = {p.name for p in find_attack(self.attack).params}
        given = {} if self.attack == "cw" else {"eps": self.eps, "steps": self.steps}
        return Attackers(self.attack, {name: v for name, v in given.items() if name in known}, self.seed)


def spec_of(defense: str) -> DefenseSpec:
    """What is known of a transformation or detector."""
    return DETECTORS[defense] if defense in DETECTORS else CATALOG[defense]


def choose(ask: Ask) -> Setup:
    """Draws the settings."""
    task = ask.task(NETS)
    offered = [*CATALOG] if task == "imagenet" else [*CATALOG, *DETECTORS, DISTILLATION]
    defense = ask.select(
        f"defense_{task}",
        "Defense",
        offered,
        DEFENSES[task],
        format_func=lambda key: DISTILLED if key == DISTILLATION else spec_of(key).name,
    )
    params: Mapping[str, Value] = {}
    if defense != DISTILLATION:
        spec = spec_of(defense)
        papers = ", ".join(f"[{short_citation(p)}]({p.url})" for p in spec.papers)
        st.markdown(f":small[{spec.summary} {papers}]")
        params = form(spec.params, {}, Ask(ask.key(defense)))
    model = _model(ask, task, defense)
    attack = ask.select(
        "attack",
        "Attack",
        ATTACKS,
        ATTACKS[0],
        format_func=lambda key: find_attack(key).name,
        help="White box: the page shows what it does with more and more knowledge of the defense.",
    )
    eps, steps = _budget(ask, task, attack)
    count = ask.slide(f"count_{task}", "Images", COUNTS[task], COUNT[task])
    percent = 5
    if defense in DETECTORS:
        percent = ask.slide(
            "rate",
            "False positives allowed, %",
            RATES,
            percent,
            help="The share of clean images that the threshold rejects, on the half that it is set on.",
        )
    seed = ask.seed()
    return Setup(task, defense, tuple(params.items()), model, attack, eps, steps, int(count), percent / 100, seed)


def _budget(ask: Ask, task: str, attack: str) -> tuple[float, int]:
    """Epsilon and iterations, where the attack has them."""
    if attack == "cw":
        return 0.0, 1
    eps = ask.epsilon(
        EPSILONS[task],
        name=f"eps_{task}",
        help="Not as on the other pages: larger on MNIST, because rounding to one bit undoes every change that "
        "carries no pixel across one half; smaller on Fashion-MNIST, where few images withstand more.",
    )
    return eps, 1 if attack == "fgsm" else ask.count(f"steps_{task}", "Iterations", 1, 500, STEPS[task])


def _model(ask: Ask, task: str, defense: str) -> str:
    if defense == DISTILLATION:
        st.caption("The ordinary net and its distilled twin, as the lab trained them.")
        return f"{task}/cnn"
    drawing = defense == "reconstruction"
    offered = [key for key in trained.keys(task) if is_here(key) and (not drawing or key.endswith("/capsnet"))]
    start = f"{task}/{NETS[task]}"
    return ask.chosen_model(
        f"model_{task}_{drawing}",
        "Model",
        offered,
        start if start in offered else offered[0],
        format_func=model_name,
    )
