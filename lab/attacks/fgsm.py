"""The FGSM family: the methods that have a name, each a point in the space of `GradientAttack`."""

from __future__ import annotations

from lab.attacks.gradient import GradientAttack
from lab.attacks.spec import Spec
from lab.types import Paper

GOODFELLOW = Paper("Explaining and Harnessing Adversarial Examples", "Goodfellow, Shlens, Szegedy", 2015, "1412.6572")
KURAKIN = Paper("Adversarial Examples in the Physical World", "Kurakin, Goodfellow, Bengio", 2016, "1607.02533")
MADRY = Paper(
    "Towards Deep Learning Models Resistant to Adversarial Attacks",
    "Madry, Makelov, Schmidt, Tsipras, Vladu",
    2018,
    "1706.06083",
)
MOMENTUM = Paper("Boosting Adversarial Attacks with Momentum", "Dong, Liao, Pang, Su, Zhu, Hu, Li", 2018, "1710.06081")
NESTEROV = Paper(
    "Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks",
    "Lin, Song, He, Wang, Hopcroft",
    2020,
    "1908.06281",
)
DIVERSITY = Paper(
    "Improving Transferability of Adversarial Examples with Input Diversity",
    "Xie, Zhang, Zhou, Bai, Wang, Ren, Yuille",
    2019,
    "1803.06978",
)
TRANSLATION = Paper(
    "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks",
    "Dong, Pang, Su, Zhu",
    2019,
    "1904.02884",
)
VARIANCE = Paper(
    "Enhancing the Transferability of Adversarial Attacks through Variance Tuning", "Wang, He", 2021, "2103.15571"
)

ITERATIVE = ("eps", "steps", "alpha", "norm")
"""What every member but FGSM itself offers."""

SPECS = (
    Spec(
        key="fgsm",
        name="FGSM",
        summary="One step of size epsilon along the sign of the gradient: the fast gradient sign method.",
        formula=r"x' = x + \epsilon\,\step{\nabla_x J(x, y)}",
        papers=(GOODFELLOW,),
        make=GradientAttack,
        preset={"steps": 1},
        offers=("eps", "norm"),
    ),
    Spec(
        key="bim",
        name="BIM (I-FGSM)",
        summary="FGSM repeated in small steps, never farther than epsilon from the image.",
        formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{\nabla_x J(x_t, y)}\right)",
        papers=(KURAKIN,),
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
        papers=(MOMENTUM,),
        make=GradientAttack,
        preset={"momentum": 1.0},
        offers=(*ITERATIVE, "momentum"),
    ),
    Spec(
        key="ni_fgsm",
        name="NI-FGSM",
        summary="MI-FGSM that takes the gradient where the momentum is about to lead (Nesterov).",
        formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(x_t + \alpha\mu g_t, y)}{\lVert\cdot\rVert_1}",
        papers=(NESTEROV,),
        make=GradientAttack,
        preset={"momentum": 1.0, "lookahead": True},
        offers=(*ITERATIVE, "momentum"),
    ),
    Spec(
        key="di_fgsm",
        name="DI-FGSM",
        summary="MI-FGSM that shrinks and shifts the image at random before each gradient.",
        formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(T(x_t; p), y)}{\lVert\cdot\rVert_1}",
        papers=(DIVERSITY,),
        make=GradientAttack,
        preset={"momentum": 1.0, "diversity": 0.5},
        offers=(*ITERATIVE, "momentum", "diversity"),
    ),
    Spec(
        key="ti_fgsm",
        name="TI-FGSM",
        summary="MI-FGSM with the gradient blurred, as if averaged over shifted copies of the image.",
        formula=r"g_{t+1} = \mu\,g_t + \frac{W * \nabla_x J(x_t, y)}{\lVert\cdot\rVert_1}",
        papers=(TRANSLATION,),
        make=GradientAttack,
        preset={"momentum": 1.0, "smooth": 15},
        offers=(*ITERATIVE, "momentum", "smooth"),
    ),
    Spec(
        key="si_ni_fgsm",
        name="SI-NI-FGSM",
        summary="NI-FGSM with the gradient averaged over copies of the image at 1, 1/2, 1/4 ... of its brightness.",
        formula=r"\bar g = \frac1m \sum_{i=0}^{m-1} \nabla_x J\left((x_t + \alpha\mu g_t)/2^i, y\right)",
        papers=(NESTEROV,),
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
        papers=(VARIANCE,),
        make=GradientAttack,
        preset={"momentum": 1.0, "neighbours": 20},
        offers=(*ITERATIVE, "momentum", "neighbours", "spread"),
    ),
    Spec(
        key="vni_fgsm",
        name="VNI-FGSM",
        summary="VMI-FGSM that looks ahead along the momentum, as NI-FGSM does.",
        formula=r"g_{t+1} = \mu\,g_t + \frac{\nabla_x J(x_t + \alpha\mu g_t, y) + v_t}{\lVert\cdot\rVert_1}",
        papers=(VARIANCE,),
        make=GradientAttack,
        preset={"momentum": 1.0, "lookahead": True, "neighbours": 20},
        offers=(*ITERATIVE, "momentum", "neighbours", "spread"),
    ),
)
"""The members, in order."""

EVERY_KNOB = Spec(
    key="gradient",
    name="Gradient attack (every knob)",
    summary="The loop behind all of these, with every knob free: try combinations that have no name.",
    formula=r"x_{t+1} = \Pi_\epsilon\left(x_t + \alpha\,\step{g_{t+1}}\right)",
    papers=(MOMENTUM, NESTEROV, DIVERSITY, TRANSLATION, VARIANCE),
    make=GradientAttack,
)
"""The loop behind them, which comes last in the catalogue."""
