"""What defenses are worth against attackers who know them or not, on official test images of MNIST."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from torch import Tensor

from lab.defenses.catalog import CATALOG, defend
from lab.defenses.detect import Squeezing
from lab.defenses.smoothing import certify
from lab.experiments.defenses.attackers import Attackers, Detection, detected, distilled, transformed
from lab.experiments.papers.experiment import Bench, Experiment, Figure, share_of
from lab.models.catalog import load_model
from lab.predict import classes_of

EPS = 0.3
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
OFFICIAL = ("mnist", "official_test")
WAYS: Mapping[Literal["exact", "bpda"], str] = {"exact": "by its own gradient", "bpda": "with BPDA"}
"""How gradients come through a transformation."""


def pgd(eps: float, steps: int = 40) -> Attackers:
    """PGD with its automatic step."""
    return Attackers("pgd", {"eps": eps, "steps": steps})


def squeezing(bench: Bench) -> Iterator[Figure]:
    """FGSM's images before and after one bit of depth; PGD through the squeezer, as it is and with BPDA."""
    model, data = load_model("mnist/cnn"), bench.images(*OFFICIAL, 0, 1000)
    squeezed = defend("bit_depth", model, bits=1)
    for k, eps in enumerate((0.1, EPS)):
        bench.progress.tell(k / 2, f"epsilon {eps:g}")
        made = Attackers("fgsm", {"eps": eps})(model, data.x, data.y)
        yield share_of(f"error under FGSM {eps:g}", classes_of(model, made) != data.y)
        yield share_of(f"error under FGSM {eps:g}, squeezed to one bit", classes_of(squeezed, made) != data.y)
        for how, name in WAYS.items():
            bench.progress.tell((k + 0.5) / 2, f"epsilon {eps:g}", name)
            x = pgd(eps)(defend("bit_depth", model, backward=how, bits=1), data.x, data.y)
            yield share_of(f"error under PGD-40 {eps:g} through it, {name}", classes_of(squeezed, x) != data.y)


def detector(bench: Bench) -> Iterator[Figure]:
    """The joint detector (one bit, and the median filter) against several attacks, oblivious and adaptive."""
    model = load_model("mnist/cnn")
    clean, data = bench.images(*OFFICIAL, 5000, 9000), bench.images(*OFFICIAL, 0, 500)
    attackers: Mapping[str, Attackers] = {
        "FGSM": Attackers("fgsm", {"eps": EPS}),
        "BIM": Attackers("bim", {"eps": EPS, "steps": 10, "alpha": EPS / 10}),
        "PGD": pgd(EPS),
        "C&W": Attackers("cw", {}),
    }
    for k, (name, attacker) in enumerate(attackers.items()):
        bench.progress.tell(k / len(attackers), name)
        *_, detection = detected(Squeezing(), model, clean.x, data.x, data.y, attacker)
        yield from of_detection(name, detection)


def of_detection(name: str, detection: Detection) -> Iterator[Figure]:
    """The figures of a detector under one attack."""
    oblivious = detection.trial("oblivious")
    fooled: Tensor = oblivious.seen != detection.y
    yield share_of(f"{name} fools the model", fooled)
    if fooled.any():
        yield share_of(f"{name}: detected of those that fool it", oblivious.flagged[fooled])
    curve = detection.curve("oblivious")
    if curve is not None:
        yield Figure(f"{name}: area under the ROC curve", curve.area)
    yield Figure(f"{name}: measured false positives", detection.false)
    for attacker in ("oblivious", "adaptive"):
        yield Figure(f"{name}, {attacker}: wrong and undetected", 1 - detection.trial(attacker).accuracy(detection.y))


def smoothing(bench: Bench) -> Iterator[Figure]:
    """Certified accuracy of the noise-trained net and of the plain one at sigma 0.5, n = 2,000, alpha = 0.001."""
    data = bench.images(*OFFICIAL, 0, 500)
    for k, key in enumerate(("mnist/cnn_noise", "mnist/cnn")):
        bench.progress.tell(k / 2, key)
        certified = certify(load_model(key), data.x, sigma=0.5, n=2000)
        for radius in RADII:
            stands = (certified.classes == data.y) & (certified.radius >= radius)
            yield share_of(f"{key}: certified at L2 radius {radius:g}", stands)
        yield share_of(f"{key}: abstains", certified.classes < 0)


def transforms(bench: Bench) -> Iterator[Figure]:
    """Accuracy behind every transformation under attackers who know it or not."""
    model, data = load_model("mnist/cnn"), bench.images(*OFFICIAL, 0, 500)
    for k, key in enumerate(CATALOG):
        for eps in (0.1, 0.2):
            bench.progress.tell(k / len(CATALOG), key, f"epsilon {eps:g}")
            *_, trials = transformed(key, model, data.x, data.y, pgd(eps))
            for t in trials:
                yield Figure(f"{key}, PGD-40 {eps:g}, {t.attacker}: accuracy", t.accuracy(data.y), n=len(data))


def distillation(bench: Bench) -> Iterator[Figure]:
    """Accuracy of the distilled net under attackers who know of its temperature or not."""
    teacher, student = load_model("mnist/cnn"), load_model("mnist/cnn_distilled")
    data, heat = bench.images(*OFFICIAL, 0, 1000), float(student.card.details["rule"]["temperature"])
    for k, eps in enumerate((0.1, 0.2)):
        bench.progress.tell(k / 2, f"epsilon {eps:g}")
        *_, trials = distilled(teacher, student, data.x, data.y, pgd(eps), temperature=heat)
        for t in trials:
            yield Figure(f"PGD-40 {eps:g}, {t.attacker}: accuracy", t.accuracy(data.y), n=len(data))


NETS = ("mnist/cnn",)
EXPERIMENTS = (
    Experiment("squeezing", "One bit of depth, alone", "Xu et al. 2018", squeezing, NETS, (OFFICIAL,)),
    Experiment("detector", "Feature squeezing as a detector", "Xu et al. 2018", detector, NETS, (OFFICIAL,)),
    Experiment(
        "smoothing",
        "Randomized smoothing, certified accuracy",
        "Cohen et al. 2019",
        smoothing,
        ("mnist/cnn_noise", "mnist/cnn"),
        (OFFICIAL,),
    ),
    Experiment("transforms", "Input transformations", "Athalye et al. 2018", transforms, NETS, (OFFICIAL,)),
    Experiment(
        "distillation",
        "Defensive distillation",
        "Papernot et al. 2016; Carlini and Wagner 2017",
        distillation,
        ("mnist/cnn", "mnist/cnn_distilled"),
        (OFFICIAL,),
    ),
)
