"""What the lab knows of an attack beside its code; every attack's stands in its own file, below the attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lab.params import Param, Value, describe, parse
from lab.types import Access, Attack, Paper

Keep = Literal["last", "closest"]
"""Which iterate is the result: the last, or the closest to the image of those that reached the goal."""


@dataclass(frozen=True)
class Spec:
    """One attack of the catalogue.

    Attributes:
        key: its name in code, on the command line and in links.
        name: its name for a person.
        summary: one sentence on what it does.
        formula: the update, in LaTeX, with \\step{g} for the norm's steepest step along g and \\dual for its dual.
        papers: where it was published.
        make: the dataclass that is the attack.
        preset: values that differ from the dataclass's defaults.
        offers: the parameters that a person may set; None for all. The others stay as preset.
        access: what it may ask of the model.
        keep: which iterate is the result.
        until_reached: the attack is done with an image as soon as its goal is reached.
        norm: the distance that is bounded or kept small, where there is no parameter `norm`: "linf", "l2" or "l0".
        symbols: what the formula's letters mean, in LaTeX, where `lab.figures.formulas` does not say or says otherwise.
        joint: one perturbation for the whole batch, so that its images depend on each other.
    """

    key: str
    name: str
    summary: str
    formula: str
    papers: tuple[Paper, ...]
    make: type
    preset: Mapping[str, Value] = field(default_factory=dict)
    offers: tuple[str, ...] | None = None
    access: Access = Access.GRADIENTS
    keep: Keep = "last"
    until_reached: bool = False
    norm: str = "linf"
    symbols: Mapping[str, str] = field(default_factory=dict)
    joint: bool = False

    @property
    def params(self) -> tuple[Param, ...]:
        """The parameters that a person may set, in order."""
        return describe(self.make, self.preset, self.offers)

    def measured_in(self, values: Mapping[str, Value]) -> str:
        """The distance that is bounded or kept small at these parameters: "linf", "l2" or "l0"."""
        return str(values.get("norm", self.norm))

    def build(self, **given: Any) -> Attack:
        """The attack with these parameters; the others at their defaults.

        Raises:
            ParamError: for an unknown parameter or a value out of range.
        """
        attack: Attack = self.make(**{**self.preset, **parse(self.params, given, self.key)})
        return attack
