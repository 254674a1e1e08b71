"""Adversarial training and its two traps, on the official files of MNIST."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from lab.attacks import attack
from lab.data.official import training_images
from lab.experiments.papers.experiment import Bench, Details, Experiment, Figure, share_of
from lab.models.nets import build
from lab.training.fit import fit
from lab.training.rules import Adversarial, Fast, Rule


@dataclass(frozen=True)
class Case:
    """One training: its name in a table, its net, its rule, how long, and by how many steps of PGD it is judged."""

    title: str
    source: str
    name: str
    net: str
    options: Mapping[str, Any]
    rule: Rule
    eps: float
    settings: Mapping[str, Any]
    steps: int


LIGHT = {"batch": 128, "lr": 0.002, "weight_decay": 0.01}
PAPER = {"batch": 100, "lr": 0.005, "schedule": "triangle", "epochs": 6, "precision": "bfloat16"}
"""The settings of Wong et al. on MNIST, but 6 epochs instead of 10."""
CASES: Mapping[str, Case] = {
    "collapse": Case(
        "Single-step training without a random start stands FGSM and falls to PGD",
        "Wong et al. 2020",
        "Convolutional, FGSM alone from zero, 6 epochs",
        "cnn",
        {},
        Adversarial(0.3, mix=0.0),
        0.3,
        LIGHT | {"epochs": 6, "precision": "bfloat16"},
        50,
    ),
    "fast": Case(
        "A random start and a step of 1.25 epsilon, and nothing else changed: no collapse",
        "Wong et al. 2020",
        "Convolutional, fast, 6 epochs",
        "cnn",
        {},
        Fast(0.3, collapse=0.0),
        0.3,
        PAPER,
        50,
    ),
    "masking": Case(
        "A fully connected net trained half on FGSM's images looks robust to FGSM alone",
        "Goodfellow et al. 2015",
        "Fully connected 256-256, FGSM half and half, 5 epochs",
        "mlp",
        {"widths": (256, 256)},
        Adversarial(0.25, mix=0.5),
        0.25,
        LIGHT | {"epochs": 5},
        40,
    ),
}


def measure(case: Case, bench: Bench) -> Iterator[Figure | Details]:
    """Trains on the images that the lab does not hold out; errors on the test images, wrong when clean included."""
    net = build(case.net, (1, 28, 28), 10, seed=bench.seed, **case.options)
    images = training_images("mnist")
    settings = dict(case.settings)
    if bench.quick:
        images, settings["epochs"] = images.rows(slice(0, 2000)), 1
    for _ in fit(net, images, case.rule, progress=bench.progress.part(0.0, 0.9), **settings):
        pass
    bench.progress.check()
    net.requires_grad_(False)
    test = bench.images("mnist", "official_test", 0, 10_000)
    with torch.no_grad():
        yield share_of("error clean", net(test.x).argmax(1) != test.y)
    runs: Mapping[str, Mapping[str, Any]] = {"fgsm": {}, "pgd": {"steps": case.steps, "alpha": 0.01}}
    for key, more in runs.items():
        result = attack(key, net, test.x, test.y, eps=case.eps, drop_solved=True, seed=bench.seed, **more)
        yield share_of(f"error under {key}{f', {case.steps} steps' if more else ''}", result.success)
    yield Details({"eps": case.eps, "rule": str(case.rule), "training": settings})


EXPERIMENTS = tuple(
    Experiment(
        f"training-{name}",
        case.title,
        case.source,
        partial(measure, case),
        (),
        (("mnist", "official_train"), ("mnist", "official_test")),
    )
    for name, case in CASES.items()
)
