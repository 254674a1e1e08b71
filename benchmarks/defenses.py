"""What the defenses are worth: the figures that the Defenses page tells, measured on official test images.

    LAB_DATA=FOLDER python -m benchmarks.defenses [squeezing] [detector] [smoothing] [transforms] [distillation]

FOLDER holds the official files. squeezing: one bit of depth under FGSM, and under PGD with and without BPDA. detector:
one bit and the median filter together, the threshold set on a random half of clean images. smoothing: certified
accuracy. transforms: every transformation under attackers who know it or not. distillation: likewise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import torch

import lab
from lab.defenses.catalog import CATALOG, defend
from lab.defenses.detect import Squeezing
from lab.defenses.smoothing import certify
from lab.experiments.defenses.attackers import Attackers, Detection, detected, distilled, transformed
from lab.images import Images
from lab.predict import classes_of

EPS = 0.3
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)


def official(start: int, stop: int) -> Images:
    """Official test images of MNIST."""
    return lab.load_data("mnist", "official_test").rows(slice(start, stop))


def pgd(eps: float, steps: int = 40) -> Attackers:
    """PGD with a step of 2.5 eps / steps."""
    return Attackers("pgd", {"eps": eps, "steps": steps, "alpha": 2.5 * eps / steps})


def squeezing() -> None:
    """FGSM's images before and after one bit of depth; PGD through the squeezer, as it is and with BPDA."""
    model, data = lab.load_model("mnist/cnn"), official(0, 1000)
    y = data.y
    for eps in (0.1, EPS):
        made = Attackers("fgsm", {"eps": eps})(model, data.x, y)
        squeezed = defend("bit_depth", model, bits=1)
        errors = [float((classes_of(m, made) != y).double().mean()) for m in (model, squeezed)]
        print(f"FGSM {eps}: error {errors[0]:.1%}, squeezed to one bit {errors[1]:.1%}")
        through = []
        for way in ("exact", "bpda"):
            x = pgd(eps)(defend("bit_depth", model, backward=way, bits=1), data.x, y)
            through.append(float((classes_of(squeezed, x) != y).double().mean()))
        print(f"PGD-40 {eps} through it: error {through[0]:.1%}, with BPDA {through[1]:.1%}")


def detector() -> None:
    """The joint detector against several attacks at eps 0.3, oblivious and adaptive."""
    model = lab.load_model("mnist/cnn")
    clean, data = official(5000, 9000), official(0, 500)
    attacks = {
        "fgsm": Attackers("fgsm", {"eps": EPS}),
        "bim": Attackers("bim", {"eps": EPS, "steps": 10, "alpha": EPS / 10}),
        "pgd": pgd(EPS),
        "cw": Attackers("cw", {}),
    }
    for name, attackers in attacks.items():
        *_, found = detected(Squeezing(), model, clean.x, data.x, data.y, attackers)
        tell(name, found)


def tell(name: str, found: Detection) -> None:
    """One line on a detector under one attack."""
    oblivious, adaptive = found.trial("oblivious"), found.trial("adaptive")
    curve, rate = found.curve("oblivious"), found.detected("oblivious")
    fooled = float((oblivious.seen != found.y).double().mean())
    print(
        f"{name}: fools the model {fooled:.1%}, of which detected {'-' if rate is None else f'{rate:.1%}'}, AUC "
        f"{'-' if curve is None else f'{curve.area:.3f}'}; measured false positives {found.false:.1%} (set for "
        f"{found.rate:.0%}); adaptive attack wins on {1 - adaptive.accuracy(found.y):.1%} (oblivious "
        f"{1 - oblivious.accuracy(found.y):.1%})",
        flush=True,
    )


def smoothing() -> None:
    """Certified accuracy of the noise-trained net at sigma 0.5, n = 2,000, alpha = 0.001."""
    data = official(0, 500)
    for key in ("mnist/cnn_noise", "mnist/cnn"):
        found = certify(lab.load_model(key), data.x, sigma=0.5, n=2000)
        told = ", ".join(f"{found.accuracy(data.y, r):.1%} at {r:g}" for r in RADII)
        print(f"{key}: {told}; abstains on {float((found.classes < 0).double().mean()):.1%}", flush=True)


def transforms() -> None:
    """Accuracy behind every transformation."""
    model, data = lab.load_model("mnist/cnn"), official(0, 500)
    for key in CATALOG:
        for eps in (0.1, 0.2):
            *_, found = transformed(key, model, data.x, data.y, pgd(eps))
            print(f"{key}, PGD-40 {eps}: " + ", ".join(f"{t.attacker} {t.accuracy(data.y):.1%}" for t in found))


def distillation() -> None:
    """Accuracy of the distilled net."""
    teacher, student = lab.load_model("mnist/cnn"), lab.load_model("mnist/cnn_distilled")
    data, heat = official(0, 1000), float(student.card.details["rule"]["temperature"])
    for eps in (0.1, 0.2):
        *_, found = distilled(teacher, student, data.x, data.y, pgd(eps), temperature=heat)
        print(f"distillation, PGD-40 {eps}: " + ", ".join(f"{t.attacker} {t.accuracy(data.y):.1%}" for t in found))


PARTS: Mapping[str, Callable[[], None]] = {
    f.__name__: f for f in (squeezing, detector, smoothing, transforms, distillation)
}

if __name__ == "__main__":
    torch.manual_seed(0)
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
