"""The attacks by key. To add one: write its generator, add a `Spec` here, and its theorem tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.attacks.apgd import APGD
from lab.attacks.auto import AutoAttack
from lab.attacks.black_box import ScoreAttack
from lab.attacks.deepfool import DeepFool
from lab.attacks.fab import FAB
from lab.attacks.fmn import FMN
from lab.attacks.gradient import GradientAttack
from lab.attacks.hopskipjump import HopSkipJump
from lab.attacks.jsma import JSMA
from lab.attacks.optimise import LBFGS, CarliniWagner
from lab.attacks.pixel import Pixel
from lab.attacks.run import Keep
from lab.attacks.spatial import Spatial
from lab.attacks.square import Square
from lab.attacks.universal import Universal
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
SZEGEDY = Paper(
    "Intriguing Properties of Neural Networks",
    "Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow, Fergus",
    2013,
    "1312.6199",
)
CARLINI_WAGNER = Paper("Towards Evaluating the Robustness of Neural Networks", "Carlini, Wagner", 2017, "1608.04644")
PINTOR = Paper(
    "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints",
    "Pintor, Roli, Brendel, Biggio",
    2021,
    "2102.12827",
)
JACOBIAN = Paper(
    "The Limitations of Deep Learning in Adversarial Settings",
    "Papernot, McDaniel, Jha, Fredrikson, Celik, Swami",
    2016,
    "1511.07528",
)
AUTOATTACK = Paper(
    "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks",
    "Croce, Hein",
    2020,
    "2003.01690",
)
FAST_BOUNDARY = Paper(
    "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", "Croce, Hein", 2020, "1907.02044"
)
SQUARE = Paper(
    "Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random Search",
    "Andriushchenko, Croce, Flammarion, Hein",
    2020,
    "1912.00049",
)
UESATO = Paper(
    "Adversarial Risk and the Dangers of Evaluating Against Weak Attacks",
    "Uesato, O'Donoghue, van den Oord, Kohli",
    2018,
    "1802.05666",
)
ILYAS = Paper(
    "Black-box Adversarial Attacks with Limited Queries and Information",
    "Ilyas, Engstrom, Athalye, Lin",
    2018,
    "1804.08598",
)
HOPSKIPJUMP = Paper(
    "HopSkipJumpAttack: a Query-Efficient Decision-Based Attack", "Chen, Jordan, Wainwright", 2020, "1904.02144"
)
ONE_PIXEL = Paper("One Pixel Attack for Fooling Deep Neural Networks", "Su, Vargas, Sakurai", 2019, "1710.08864")
SPATIAL = Paper(
    "Exploring the Landscape of Spatial Robustness",
    "Engstrom, Tran, Tsipras, Schmidt, Madry",
    2019,
    "1712.02779",
)
UNIVERSAL = Paper("Universal Adversarial Perturbations", "Moosavi-Dezfooli, Fawzi, Fawzi, Frossard", 2017, "1610.08401")
SHAFAHI = Paper(
    "Universal Adversarial Training", "Shafahi, Najibi, Xu, Dickerson, Davis, Goldstein", 2020, "1811.11304"
)
ITERATIVE = ("eps", "steps", "alpha", "norm")

SCORED = ("eps", "steps", "samples", "alpha", "momentum", "delta", "norm")
ESTIMATE = {
    "g": "the estimated gradient",
    "m": "the margin: the logit of $y$ minus the largest other",
    "delta": "how far from the picture the scores are asked for",
    "N": "how many random directions are tried",
    "i": "one of them",
}


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
        symbols: what the formula's letters mean, in LaTeX, where `lab.attacks.symbols` does not say or says otherwise.
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


CATALOG: Mapping[str, Spec] = {
    spec.key: spec
    for spec in (
        Spec(
            key="fgsm",
            name="FGSM",
            summary="One step of size epsilon along the sign of the gradient: the fast gradient sign method.",
            formula=r"x' = x + \epsilon\,\step{\nabla_x J(x, y)}",
            papers=(FGSM,),
            make=GradientAttack,
            preset={"steps": 1},
            offers=("eps", "norm"),
        ),
        Spec(
            key="bim",
            name="BIM (I-FGSM)",
            summary="FGSM repeated in small steps, never farther than epsilon from the image.",
            formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{\nabla_x J(x_t, y)}\right)",
            papers=(BIM,),
            make=GradientAttack,
            offers=ITERATIVE,
        ),
        Spec(
            key="pgd",
            name="PGD",
            summary="BIM from a random start within epsilon: the standard test of a defense.",
            formula=r"x_0 = \Pi_\epsilon(x + u),\quad "
            r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{\nabla_x J(x_t, y)}\right)",
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
            r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{g_{t+1}}\right)",
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
            formula=r"r_t = \frac{|f_k(x_t) - f_y(x_t)|}{\lVert w_k\rVert_{\dual}}\,\step{w_k},\quad "
            r"w_k = \nabla f_k(x_t) - \nabla f_y(x_t),\quad "
            r"k = \arg\min_k \frac{|f_k - f_y|}{\lVert w_k\rVert_{\dual}}",
            papers=(DEEPFOOL,),
            make=DeepFool,
            keep="closest",
            until_reached=True,
            symbols={"r": "the step across the nearest boundary"},
        ),
        Spec(
            key="lbfgs",
            name="L-BFGS",
            summary="The first attack of all: the smallest change that a quasi-Newton search finds for a wrong class.",
            formula=r"\min_{x' \in [0,1]^n}\; \lVert x' - x\rVert_2^2 + c\,J(x', t),\quad c\ \text{as small as fools}",
            papers=(SZEGEDY,),
            make=LBFGS,
            keep="closest",
            norm="l2",
            symbols={
                "t": "the class to be reached",
                "n": "how many values the picture has",
                "c": "the weight of the loss: the smallest with which the model is still fooled",
            },
        ),
        Spec(
            key="cw",
            name="Carlini-Wagner (L2)",
            summary="The smallest change at which another class overtakes, weighed against its size again and again.",
            formula=r"\min_w\; \lVert x' - x\rVert_2^2 "
            r"+ c\,\max\left(f_y(x') - \max_{k \ne y} f_k(x') + \kappa,\ 0\right),\quad x' = \tfrac12(\tanh w + 1)",
            papers=(CARLINI_WAGNER,),
            make=CarliniWagner,
            keep="closest",
            norm="l2",
            symbols={
                "c": "the weight of the second term, found by search",
                "kappa": "the margin by which the model is to be wrong",
                "w": "the variable that is searched; any value of it gives a picture inside [0, 1]",
            },
        ),
        Spec(
            key="fmn",
            name="FMN",
            summary="Follows the gradient in a ball that shrinks while the image is fooled: a yardstick for distances.",
            formula=r"x_{t+1} = \Pi_{\epsilon_t}\left(x_t "
            r"- \alpha_t\,\frac{\nabla m(x_t)}{\lVert\nabla m(x_t)\rVert_2}\right),\quad "
            r"\epsilon_{t+1} = \epsilon_t\,(1 \mp \gamma_t),\quad m = f_y - \max_{k \ne y} f_k",
            papers=(PINTOR,),
            make=FMN,
            keep="closest",
            symbols={
                "m": "the margin: what still separates the picture from the goal",
                "gamma": "how fast the size allowed shrinks or grows",
            },
        ),
        Spec(
            key="jsma",
            name="JSMA",
            summary="Changes a few values completely, two at a time, chosen by how they move every class.",
            formula=r"(p, q) = \arg\max_{p, q}\; -\left(\sum_{i \in \{p, q\}} \frac{\partial F_t}{\partial x_i}\right)"
            r"\left(\sum_{i \in \{p, q\}} \sum_{k \ne t} \frac{\partial F_k}{\partial x_i}\right),"
            r"\quad F = \mathrm{softmax}(f)",
            papers=(JACOBIAN,),
            make=JSMA,
            until_reached=True,
            norm="l0",
            symbols={
                "p": "one value of the picture",
                "q": "another one; both are changed together",
                "t": "the class to be reached",
                "i": "either of the two",
                "F": "the probabilities, the softmax of the logits",
            },
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
            key="apgd",
            name="APGD",
            summary="PGD with momentum that halves its step, image by image, when the loss stops rising.",
            formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \tfrac34\,(z_{t+1} - x_t) + \tfrac14\,(x_t - x_{t-1})\right),"
            r"\quad z_{t+1} = \Pi_\epsilon\left(x_t + \eta_t\,\step{\nabla_x J(x_t, y)}\right)",
            papers=(AUTOATTACK,),
            make=APGD,
            until_reached=True,
            symbols={
                "z": "the picture one plain step on",
                "eta": "the step size, halved where the loss has stopped rising",
            },
        ),
        Spec(
            key="fab",
            name="FAB",
            summary="Steps to the linearised boundary, always drawn back towards the clean image.",
            formula=r"x_{t+1} = (1 - \alpha_t)\left(x_t + \eta\,\delta_t\right) "
            r"+ \alpha_t\left(x + \eta\,\delta\right),"
            r"\quad \delta_t, \delta\ \text{to the plane}\ f_y(x_t) - f_k(x_t) + w_t \cdot (x' - x_t) = 0",
            papers=(FAST_BOUNDARY,),
            make=FAB,
            keep="closest",
            symbols={
                "delta": r"the shortest way to the plane, $\delta_t$ from $x_t$, $\delta$ from $x$",
                "alpha": "how far back towards the clean picture",
                "eta": "how far beyond the plane",
                "w": "the gradient of the difference of the two logits",
            },
        ),
        Spec(
            key="autoattack",
            name="AutoAttack",
            summary="APGD, APGD and FAB towards nine classes, then Square, on what still stands: the standard test.",
            formula=r"\text{APGD}_{CE} \to \text{APGD}_{DLR}^{T} \to \text{FAB}^{T} \to \text{Square},\quad "
            r"\text{DLR} = -\frac{f_y - \max_{k \ne y} f_k}{f_{\pi_1} - f_{\pi_3}}",
            papers=(AUTOATTACK, FAST_BOUNDARY, SQUARE),
            make=AutoAttack,
            until_reached=True,
            symbols={
                "T": "the attack is run towards each of nine classes",
                "pi": r"the classes by falling logit: $\pi_1$ the first, $\pi_3$ the third",
            },
        ),
        Spec(
            key="spsa",
            name="SPSA",
            summary="Steps along a gradient estimated from the scores at random points around the image.",
            formula=r"\hat g = \frac{1}{N} \sum_i \frac{m(x_t - \delta v_i) - m(x_t + \delta v_i)}{2\delta}\,v_i,"
            r"\quad x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{\textstyle\sum \mu^{t-s}\,\hat g_s}\right)",
            papers=(UESATO,),
            make=ScoreAttack,
            offers=SCORED,
            access=Access.SCORES,
            until_reached=True,
            symbols=ESTIMATE
            | {"v": "a random direction of plus or minus one in every value", "s": "an earlier iteration"},
        ),
        Spec(
            key="nes",
            name="NES",
            summary="SPSA along normally distributed directions: the gradient of the scores around the image.",
            formula=r"\hat g = \frac{1}{N} \sum_i \frac{m(x_t - \delta v_i) - m(x_t + \delta v_i)}{2\delta}\,v_i,"
            r"\quad v_i \sim \mathcal{N}(0, I)",
            papers=(ILYAS,),
            make=ScoreAttack,
            preset={"directions": "normal", "delta": 0.001},
            offers=SCORED,
            access=Access.SCORES,
            until_reached=True,
            symbols=ESTIMATE | {"v": "a random direction, normally distributed", "I": "the identity"},
        ),
        Spec(
            key="hopskipjump",
            name="HopSkipJump",
            summary="Walks along the class boundary towards the image by the predicted labels alone.",
            formula=r"v_t = \sum_{b=1}^{B_t} \left(\phi(x_t + \delta_t u_b) - \bar\phi\right) u_b,\quad "
            r"x_{t+1} = P\left(x_t + \xi_t\,\step{v_t}\right)",
            papers=(HOPSKIPJUMP,),
            make=HopSkipJump,
            access=Access.LABELS,
            keep="closest",
            symbols={
                "phi": r"1 where the goal is reached, else 0; $\bar\phi$ its mean",
                "delta": "how far out the probes lie",
                "b": "one of the probes",
                "B": r"how many there are, growing with $\sqrt t$",
                "u": "a random direction",
                "v": "the way in which the boundary faces",
                "xi": "the largest of some step sizes that still reaches the goal",
                "P": "a binary search for the boundary, towards the clean picture",
            },
        ),
        Spec(
            key="pixel",
            name="One pixel",
            summary="Changes one pixel, or a few, to the colours that differential evolution finds.",
            formula=r"\min_{x'} f_y(x') - \max_{k \ne y} f_k(x') \quad\text{with at most } d \text{ pixels changed}",
            papers=(ONE_PIXEL,),
            make=Pixel,
            access=Access.SCORES,
            until_reached=True,
            norm="l0",
            symbols={"d": "how many pixels may change"},
        ),
        Spec(
            key="spatial",
            name="Rotation and shift",
            summary="Turns and shifts the picture, and keeps the movement that is worst for the model.",
            formula=r"\min_{\theta, a, b}\; f_y(x') - \max_{k \ne y} f_k(x'),\quad x' = R_\theta(x)\ "
            r"\text{shifted by } (a, b)",
            papers=(SPATIAL,),
            make=Spatial,
            access=Access.SCORES,
            until_reached=True,
            norm="l2",
            symbols={
                "R": "the picture turned about its middle",
                "theta": "the angle",
                "a": "how far right",
                "b": "how far down",
            },
        ),
        Spec(
            key="universal",
            name="Universal perturbation",
            summary="One and the same perturbation for all pictures, that fools the model on as many as it can.",
            formula=r"d_{t+1} = \Pi_\epsilon\left(d_t + \alpha\,\step{g_{t+1}}\right),\quad "
            r"g_{t+1} = \mu\,g_t - \nabla_d \sum_i \max\left(m(x_i + d_t),\,-1\right)",
            papers=(UNIVERSAL, SHAFAHI),
            make=Universal,
            joint=True,
            symbols={
                "d": "the perturbation, the same for every picture",
                "m": "the margin: the logit of $y$ minus the largest other",
                "i": "one of the pictures",
                "nabla": "the gradient with respect to the perturbation",
            },
        ),
        Spec(
            key="gradient",
            name="Gradient attack (every knob)",
            summary="The loop behind all of these, with every knob free: try combinations that have no name.",
            formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{g_{t+1}}\right)",
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
