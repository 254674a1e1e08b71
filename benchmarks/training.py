"""Adversarial training and its two traps, on the official MNIST files.

    LAB_DATA=FOLDER python -m benchmarks.training [collapse] [fast] [masking]

FOLDER holds the official files. Trained on the training images that the lab does not hold out (58,000), measured on all
10,000 test images with the catalogue's FGSM and PGD; errors count images that are wrong already when clean.

collapse: single-step training without a random start, at eps = alpha = 0.3, stands FGSM and falls to PGD.
fast: a random start and a step of 1.25 eps, and nothing else changed: no collapse.
masking: a fully connected net trained half on FGSM's images (Goodfellow et al. 2015) looks robust to FGSM alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import lab
from lab.data.official import training_images
from lab.models.nets import build
from lab.training.fit import fit
from lab.training.rules import Adversarial, Fast, Rule


@dataclass(frozen=True)
class Case:
    """One training: its net, its rule, how long, and by how many steps of PGD it is judged."""

    net: str
    options: Mapping[str, Any]
    rule: Rule
    eps: float
    settings: Mapping[str, Any]
    steps: int


LIGHT = {"batch": 128, "lr": 0.002, "weight_decay": 0.01}
PAPER = {"batch": 100, "lr": 0.005, "schedule": "triangle", "epochs": 6, "precision": "bfloat16"}
"""As Wong et al. train on MNIST, but for 6 epochs instead of 10."""
CASES: Mapping[str, Case] = {
    "collapse": Case("cnn", {}, Adversarial(0.3, mix=0.0), 0.3, LIGHT | {"epochs": 6, "precision": "bfloat16"}, 50),
    "fast": Case("cnn", {}, Fast(0.3, collapse=0.0), 0.3, PAPER, 50),
    "masking": Case("mlp", {"widths": (256, 256)}, Adversarial(0.25, mix=0.5), 0.25, LIGHT | {"epochs": 5}, 40),
}


def measure(name: str, case: Case) -> None:
    """Trains and prints the errors on the test images."""
    net = build(case.net, (1, 28, 28), 10, seed=0, **case.options)
    start = time.perf_counter()
    for epoch in fit(net, training_images("mnist"), case.rule, **case.settings):
        print(f"  {name}: epoch {epoch.number} of {epoch.of}, loss {epoch.loss:.3f}. {epoch.note}", flush=True)
    seconds = time.perf_counter() - start
    net.requires_grad_(False)
    test = lab.load_data("mnist", "official_test")
    with torch.no_grad():
        clean = float((net(test.x).argmax(1) != test.y).double().mean())
    runs: Mapping[str, Mapping[str, Any]] = {"fgsm": {}, "pgd": {"steps": case.steps, "alpha": 0.01}}
    error = {
        key: float(lab.attack(key, net, test.x, test.y, eps=case.eps, drop_solved=True, **more).success.double().mean())
        for key, more in runs.items()
    }
    print(
        f"{name}: {case.net} {dict(case.options) or ''}, {case.rule}, {dict(case.settings)}, {seconds:.0f} s\n"
        f"{name}: at {case.eps:g}, error clean {clean:.1%}, FGSM {error['fgsm']:.1%}, "
        f"PGD-{case.steps} {error['pgd']:.1%}",
        flush=True,
    )


def main(names: Sequence[str]) -> None:
    """Measures the named cases, all where none is named."""
    for name in names or CASES:
        measure(name, CASES[name])


if __name__ == "__main__":
    main(sys.argv[1:])
