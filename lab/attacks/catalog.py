"""The attacks by key. To add one: write its generator, add a `Spec` here, and its theorem tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.attacks.gradient import GradientAttack
from lab.attacks.run import Keep
from lab.params import Param, Value, describe, parse
from lab.types import Access, Attack, Paper, ParamError

FGSM = Paper("Explaining and Harnessing Adversarial Examples", "Goodfellow, Shlens, Szegedy", 2015, "1412.6572")
BIM = Paper("Adversarial Examples in the Physical World", "Kurakin, Goodfellow, Bengio", 2016, "1607.02533")
MADRY = Paper(
    "Towards Deep Learning Models Resistant to Adversarial Attacks",
    "Madry, Makelov, Schmidt, Tsipras, Vladu",
    2018,
    "1706.06083",
)
MIFGSM = Paper("Boosting Adversarial Attacks with Momentum", "Dong, Liao, Pang, Su, Zhu, Hu, Li", 2018, "1710.06081")


@dataclass(frozen=True)
class Spec:
    """One attack of the catalogue.

    Attributes:
        key: its name in code, on the command line and in links.
        name: its name for a person.
        summary: one sentence on what it does.
        formula: the update, in LaTeX.
        papers: where it was published.
        make: the dataclass that is the attack.
        fixed: parameters that this method fixes; they are not offered.
        defaults: defaults that differ from the dataclass's.
        access: what it may ask of the model.
        keep: which iterate is the result.
    """

    key: str
    name: str
    summary: str
    formula: str
    papers: tuple[Paper, ...]
    make: type
    fixed: Mapping[str, Value] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)
    access: Access = Access.GRADIENTS
    keep: Keep = "last"

    @property
    def params(self) -> tuple[Param, ...]:
        """The parameters that a person may set, in order."""
        return describe(self.make, self.fixed, self.defaults)

    def build(self, **given: Any) -> Attack:
        """The attack with these parameters; the others at their defaults.

        Raises:
            ParamError: for an unknown parameter or a value out of range.
        """
        attack: Attack = self.make(**self.fixed, **parse(self.params, given, self.key))
        return attack


CATALOG: Mapping[str, Spec] = {
    spec.key: spec
    for spec in (
        Spec(
            key="fgsm",
            name="FGSM",
            summary="One step of size epsilon along the sign of the gradient: the fast gradient sign method.",
            formula=r"x' = x + \epsilon\,\mathrm{sign}\,\nabla_x J(x, y)",
            papers=(FGSM,),
            make=GradientAttack,
            fixed={"steps": 1, "alpha": None, "momentum": 0.0, "random_start": False},
        ),
        Spec(
            key="bim",
            name="BIM (I-FGSM)",
            summary="FGSM repeated in small steps, never farther than epsilon from the image.",
            formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\mathrm{sign}\,\nabla_x J(x_t, y)\right)",
            papers=(BIM,),
            make=GradientAttack,
            fixed={"momentum": 0.0, "random_start": False},
        ),
        Spec(
            key="pgd",
            name="PGD",
            summary="BIM from a random start within epsilon: the standard test of a defense.",
            formula=r"x_0 = x + \mathcal{U}(-\epsilon, \epsilon),\quad "
            r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\mathrm{sign}\,\nabla_x J(x_t, y)\right)",
            papers=(MADRY,),
            make=GradientAttack,
            fixed={"momentum": 0.0, "random_start": True},
            defaults={"steps": 40},
        ),
        Spec(
            key="mi_fgsm",
            name="MI-FGSM",
            summary="BIM that remembers past gradients; the momentum makes its images transfer better to other models.",
            formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(x_t, y)}{\lVert\nabla_x J(x_t, y)\rVert_1},\quad "
            r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\mathrm{sign}\,g_{t+1}\right)",
            papers=(MIFGSM,),
            make=GradientAttack,
            fixed={"random_start": False},
            defaults={"momentum": 1.0},
        ),
    )
}


def find(key: str) -> Spec:
    """The attack of that key.

    Raises:
        ParamError: where there is none.
    """
    if key not in CATALOG:
        raise ParamError(f"there is no attack '{key}': the lab has {', '.join(CATALOG)}")
    return CATALOG[key]
