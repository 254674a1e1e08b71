"""What a transfer matrix costs over the gradients and forwards that it needs, in one process, in turn.

python -m benchmarks.transfer
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

import lab
from lab.attacks.gradient import input_gradient
from lab.experiments.transfer.matrix import Transfer
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

    def whole() -> Transfer:
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


if __name__ == "__main__":
    torch.manual_seed(0)
    cost()
