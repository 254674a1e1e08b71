"""Transfer and the substitute attack: what they cost, and the figures that the pages tell.

    LAB_DATA=FOLDER python -m benchmarks.transfer [cost] [momentum] [substitute]

FOLDER holds the official files. cost: seconds of a transfer matrix over those of the gradients and forwards that it
needs, in one process, in turn. momentum: MI-FGSM against I-FGSM between the EfficientNet-Lite nets. substitute: copies
of three nets by their labels.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

import lab
from lab.attacks.gradient import input_gradient
from lab.experiments.blackbox.curves import prepare, scored
from lab.experiments.blackbox.oracle import labels_of
from lab.experiments.blackbox.substitute import Substitute, balanced, copy_oracle
from lab.predict import logits_of
from lab.types import Goal

MODELS = ("softmax", "mlp", "maxout", "rbf", "cnn", "cnn_half_a", "cnn_half_b", "cnn_pgd_at")
STEPS = 10
ROUNDS = 3


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cost() -> None:
    """8 MNIST models, 1,000 images, MI-FGSM of 10 steps."""
    models = {name: lab.load_model(f"mnist/{name}") for name in MODELS}
    data = lab.load_data("mnist").rows(slice(0, 1000))

    def whole() -> lab.experiments.transfer.matrix.Transfer:
        return lab.transfer(models, models, data.x, data.y, "mi_fgsm", eps=0.3, steps=STEPS)

    rows = whole().rows
    x, goal = data.x[rows], Goal(data.y[rows])

    def raw() -> None:
        """Every model asked of all clean images, every source's gradients, every target's answers."""
        for model in models.values():
            logits_of(model, data.x)
        for model in models.values():
            for _ in range(STEPS):
                input_gradient(model, x, goal.loss)
            for target in models.values():
                logits_of(target, x)

    raw()
    pairs = [(seconds(whole), seconds(raw)) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"matrix of {len(models)} models, {len(rows)} of {len(data)} images: {pairs[0][0]:.1f} s, {ratio:.2f} of raw")


def momentum() -> None:
    """Between the EfficientNet-Lite nets, at 16/255, 10 steps."""
    keys = [f"imagenet/efficientnet_lite{k}" for k in range(3)]
    data = lab.load_data("photographs", card=lab.load_model(keys[-1]).card)
    for attack in ("bim", "mi_fgsm"):
        found = lab.transfer(keys, keys, data.x, data.y, attack, eps="16/255", steps=STEPS)
        others = [found.cells[s][t].success for s in range(3) for t in range(3) if s != t]
        told = ", ".join(" ".join(f"{cell.success:.0%}" for cell in row) for row in found.cells)
        print(
            f"{attack}: {sum(others) / 6:.1%} on the models never touched, {found.n} photographs ({told})", flush=True
        )


def substitute() -> None:
    """150 of the official test images to begin with, 9,600 labels; judged on 1,000 others, FGSM at 0.3."""
    first, rest = balanced(lab.load_data("mnist", "official_test"), 150)
    test = rest.rows(slice(0, 1000))
    long = Substitute(optimiser="adam", lr=0.001, epochs=30)
    for key, settings in (
        ("softmax", Substitute()),
        ("mlp", Substitute()),
        ("cnn_small", Substitute()),
        ("cnn", long),
        ("cnn_pgd_at", long),
    ):
        ask = labels_of(lab.load_model(f"mnist/{key}"))
        judge, oracle = prepare(ask, test, 9600, settings.rounds, counted=False)
        found = list(scored(copy_oracle(oracle, first.x, 10, settings), judge))
        a, b = found[0].score, found[-1].score
        print(
            f"{key}, {settings.optimiser}: agreement {a.agreement:.1%} -> {b.agreement:.1%} with {oracle.queries:,} "
            f"labels; FGSM fools {b.fgsm:.1%}, noise {b.noise:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    torch.manual_seed(0)
    parts = {"cost": cost, "momentum": momentum, "substitute": substitute}
    for part in sys.argv[1:] or parts:
        parts[part]()
