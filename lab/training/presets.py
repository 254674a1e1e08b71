"""The training rules as a person chooses them: named, with their papers and starting values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.params import Param, Value, describe
from lab.training.recipe import RULES


@dataclass(frozen=True)
class Preset:
    """A rule as a person chooses it.

    Attributes:
        name: for a person.
        rule: its name in `lab.training.recipe.RULES`.
        summary: what it does, in one sentence.
        source: authors and year.
        arxiv: number of the paper.
        fixed: values of the rule's parameters that make it this way.
        start: values that the others begin with, where these are not the rule's own.
        step: size of its inner step as a share of epsilon, where it has one.
    """

    name: str
    rule: str
    summary: str
    source: str
    arxiv: str
    fixed: Mapping[str, Value] = field(default_factory=dict)
    start: Mapping[str, Value] = field(default_factory=dict)
    step: float = 1.0

    @property
    def params(self) -> tuple[Param, ...]:
        """The parameters that are left to choose: all but epsilon and those that are fixed."""
        return tuple(p for p in describe(RULES[self.rule], self.start) if p.name != "eps" and p.name not in self.fixed)


PRESETS: Mapping[str, Preset] = {
    "standard": Preset("Standard", "standard", "Clean images only.", "Szegedy et al. 2013", "1312.6199"),
    "fgsm": Preset(
        "FGSM half and half",
        "adversarial",
        "Half the loss on clean images, half on FGSM's.",
        "Goodfellow et al. 2015",
        "1412.6572",
        {"mix": 0.5},
    ),
    "zero": Preset(
        "FGSM alone from zero",
        "adversarial",
        "Nothing but FGSM's images, each made from the clean one.",
        "Wong et al. 2020",
        "2001.03994",
        {"mix": 0.0},
    ),
    "pgd": Preset("PGD", "pgd", "Images of a many-step attack.", "Madry et al. 2018", "1706.06083", step=1 / 3),
    "fast": Preset(
        "Fast",
        "fast",
        "One step, from a random start.",
        "Wong et al. 2020",
        "2001.03994",
        start={"collapse": 0.0},  # with few images, the first epochs look like a collapse
    ),
    "free": Preset(
        "Free",
        "free",
        "Each backward pass serves the weights and the perturbation.",
        "Shafahi et al. 2019",
        "1904.12843",
    ),
    "trades": Preset(
        "TRADES",
        "trades",
        "Clean images, and answers that move little within epsilon.",
        "Zhang et al. 2019",
        "1901.08573",
        step=1 / 4,
    ),
}
