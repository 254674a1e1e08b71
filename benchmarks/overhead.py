"""What the lab adds to an attack's own gradients.

    python -m benchmarks.overhead [--rounds 5]

Ratio = seconds of the whole `lab.attack` call / (steps x seconds of one raw forward and backward of the same model and
batch). Both are measured in turn in one process; medians of several rounds, with and without a trace.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

import lab
from lab.types import Model

CASES = (
    ("fashion_mnist/cnn", 128, "bim", 40),
    ("fashion_mnist/cnn", 128, "pgd", 40),
    ("fashion_mnist/cnn", 128, "mi_fgsm", 10),
    ("imagenet/efficientnet_lite0", 8, "bim", 40),
    ("imagenet/efficientnet_lite0", 8, "mi_fgsm", 10),
)


def raw(model: Model, x: Tensor, y: Tensor, steps: int) -> None:
    """The gradients alone."""
    for _ in range(steps):
        inputs = x.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(inputs), y, reduction="sum"), inputs)


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratios(key: str, batch: int, attack: str, steps: int, rounds: int) -> tuple[float, float, float]:
    """Median ratio without and with trace, and the seconds of one raw step."""
    model = lab.load_model(key)
    data = lab.load_data("photographs" if key.startswith("imagenet") else key.split("/")[0], card=model.card)
    data = data.rows(slice(0, batch))
    gradients = []
    found: dict[bool, list[float]] = {False: [], True: []}
    raw(model, data.x, data.y, 2)
    for _ in range(rounds):
        before = seconds(lambda: raw(model, data.x, data.y, steps))
        times = {
            trace: seconds(lambda t=trace: lab.attack(attack, model, data.x, data.y, steps=steps, trace=t))
            for trace in found
        }
        base = (before + seconds(lambda: raw(model, data.x, data.y, steps))) / 2
        gradients.append(base / steps)
        for trace, spent in times.items():
            found[trace].append(spent / base)
    return statistics.median(found[False]), statistics.median(found[True]), statistics.median(gradients)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    print(f"{'model':30} {'batch':>5} {'attack':>10} {'ratio':>6} {'traced':>6} {'ms/gradient':>11}")
    for key, batch, attack, steps in CASES:
        plain, traced, step = ratios(key, batch, attack, steps, args.rounds)
        print(f"{key:30} {batch:5} {attack + '-' + str(steps):>10} {plain:6.3f} {traced:6.3f} {step * 1e3:11.1f}")


if __name__ == "__main__":
    main()
