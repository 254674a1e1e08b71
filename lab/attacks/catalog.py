"""The attacks by key. To add one: write its generator, add a `Spec` here, and its theorem tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.attacks.deepfool import DeepFool
from lab.attacks.gradient import GradientAttack
from lab.attacks.run import Keep
from lab.attacks.square import Square
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


NIFGSM = Paper(
    "Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks",
    "Lin, Song, He, Wang, Hopcroft",
    2020,
    "1908.06281",
)
DIFGSM = Paper(
    "Improving Transferability of Adversarial Examples with Input Diversity",
    "Xie, Zhang, Zhou, Bai, Wang, Ren, Yuille",
    2019,
    "1803.06978",
)
TIFGSM = Paper(
    "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks",
    "Dong, Pang, Su, Zhu",
    2019,
    "1904.02884",
)
VMIFGSM = Paper(
    "Enhancing the Transferability of Adversarial Attacks through Variance Tuning", "Wang, He", 2021, "2103.15571"
)
DEEPFOOL = Paper(
    "DeepFool: a Simple and Accurate Method to Fool Deep Neural Networks",
    "Moosavi-Dezfooli, Fawzi, Frossard",
    2016,
    "1511.04599",
)
SQUARE = Paper(
    "Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random Search",
    "Andriushchenko, Croce, Flammarion, Hein",
    2020,
    "1912.00049",
)
ITERATIVE = ("eps", "steps", "alpha", "norm")


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
        preset: values that differ from the dataclass's defaults.
        offers: the parameters that a person may set; None for all. The others stay as preset.
        access: what it may ask of the model.
        keep: which iterate is the result.
        until_reached: the attack is done with an image as soon as its goal is reached.
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

    @property
    def params(self) -> tuple[Param, ...]:
        """The parameters that a person may set, in order."""
        return describe(self.make, self.preset, self.offers)

    def build(self, **given: Any) -> Attack:
        """The attack with these parameters; the others at their defaults.

        Raises:
            ParamError: for an unknown parameter or a value out of range.
        """
        attack: Attack = self.make(**{**self.preset, **parse(self.params, given, self.key)})
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
            preset={"steps": 1},
            offers=("eps", "norm"),
        ),
        Spec(
            key="bim",
            name="BIM (I-FGSM)",
            summary="FGSM repeated in small steps, never farther than epsilon from the image.",
            formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\mathrm{sign}\,\nabla_x J(x_t, y)\right)",
            papers=(BIM,),
            make=GradientAttack,
            offers=ITERATIVE,
        ),
        Spec(
            key="pgd",
            name="PGD",
            summary="BIM from a random start within epsilon: the standard test of a defense.",
            formula=r"x_0 = x + \mathcal{U}(-\epsilon, \epsilon),\quad "
            r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\mathrm{sign}\,\nabla_x J(x_t, y)\right)",
            papers=(MADRY,),
            make=GradientAttack,
            preset={"steps": 40, "random_start": True},
            offers=ITERATIVE,
        ),
        Spec(
            key="mi_fgsm",
            name="MI-FGSM",
            summary="BIM that remembers past gradients; the momentum makes its images transfer better to other models.",
            formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(x_t, y)}{\lVert\nabla_x J(x_t, y)\rVert_1},\quad "
            r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\mathrm{sign}\,g_{t+1}\right)",
            papers=(MIFGSM,),
            make=GradientAttack,
            preset={"momentum": 1.0},
            offers=(*ITERATIVE, "momentum"),
        ),
        Spec(
            key="ni_fgsm",
            name="NI-FGSM",
            summary="MI-FGSM that takes the gradient where the momentum is about to lead (Nesterov).",
            formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(x_t + \alpha\mu g_t, y)}{\lVert\cdot\rVert_1}",
            papers=(NIFGSM,),
            make=GradientAttack,
            preset={"momentum": 1.0, "lookahead": True},
            offers=(*ITERATIVE, "momentum"),
        ),
        Spec(
            key="di_fgsm",
            name="DI-FGSM",
            summary="MI-FGSM that shrinks and shifts the image at random before each gradient.",
            formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(T(x_t; p), y)}{\lVert\cdot\rVert_1}",
            papers=(DIFGSM,),
            make=GradientAttack,
            preset={"momentum": 1.0, "diversity": 0.5},
            offers=(*ITERATIVE, "momentum", "diversity"),
        ),
        Spec(
            key="ti_fgsm",
            name="TI-FGSM",
            summary="MI-FGSM with the gradient blurred, as if averaged over shifted copies of the image.",
            formula=r"g_{t+1} = \mu\,g_t + \frac{W * \nabla_x J(x_t, y)}{\lVert\cdot\rVert_1}",
            papers=(TIFGSM,),
            make=GradientAttack,
            preset={"momentum": 1.0, "smooth": 15},
            offers=(*ITERATIVE, "momentum", "smooth"),
        ),
        Spec(
            key="si_ni_fgsm",
            name="SI-NI-FGSM",
            summary="NI-FGSM with the gradient averaged over copies of the image at 1, 1/2, 1/4 ... of its brightness.",
            formula=r"\bar g = \frac1m \sum_{i=0}^{m-1} \nabla_x J\left((x_t + \alpha\mu g_t)/2^i, y\right)",
            papers=(NIFGSM,),
            make=GradientAttack,
            preset={"momentum": 1.0, "lookahead": True, "scales": 5},
            offers=(*ITERATIVE, "momentum", "scales"),
        ),
        Spec(
            key="vmi_fgsm",
            name="VMI-FGSM",
            summary="MI-FGSM whose gradient is tuned by that of random neighbours of the image.",
            formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(x_t, y) + v_t}{\lVert\cdot\rVert_1},\quad "
            r"v_{t+1} = \frac1N \sum_i \nabla_x J(x_t + r_i, y) - \nabla_x J(x_t, y)",
            papers=(VMIFGSM,),
            make=GradientAttack,
            preset={"momentum": 1.0, "neighbours": 20},
            offers=(*ITERATIVE, "momentum", "neighbours", "spread"),
        ),
        Spec(
            key="vni_fgsm",
            name="VNI-FGSM",
            summary="VMI-FGSM that looks ahead along the momentum, as NI-FGSM does.",
            formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(x_t + \alpha\mu g_t, y) + v_t}{\lVert\cdot\rVert_1}",
            papers=(VMIFGSM,),
            make=GradientAttack,
            preset={"momentum": 1.0, "lookahead": True, "neighbours": 20},
            offers=(*ITERATIVE, "momentum", "neighbours", "spread"),
        ),
        Spec(
            key="deepfool",
            name="DeepFool",
            summary="Steps just across the nearest class boundary, again and again: as small a change as it finds.",
            formula=r"r_t = \frac{|f_k(x_t) - f_y(x_t)|}{\lVert w_k\rVert_2^2}\,w_k,\quad "
            r"w_k = \nabla f_k(x_t) - \nabla f_y(x_t),\quad k = \arg\min_k \frac{|f_k - f_y|}{\lVert w_k\rVert_2}",
            papers=(DEEPFOOL,),
            make=DeepFool,
            keep="closest",
            until_reached=True,
        ),
        Spec(
            key="square",
            name="Square",
            summary="Random search with squares of plus or minus epsilon, by the model's scores alone.",
            formula=r"x_{t+1} = \arg\min_{x' \in \{x_t,\; x_t \oplus \text{square}\}} f_y(x') - \max_{k \ne y} f_k(x')",
            papers=(SQUARE,),
            make=Square,
            access=Access.SCORES,
            until_reached=True,
        ),
        Spec(
            key="gradient",
            name="Gradient attack (every knob)",
            summary="The loop behind all of these, with every knob free: try combinations that have no name.",
            formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\mathrm{sign}\,g_{t+1}\right)",
            papers=(MIFGSM, NIFGSM, DIFGSM, TIFGSM, VMIFGSM),
            make=GradientAttack,
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
