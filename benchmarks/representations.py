"""What the depth profile costs beside the two forward passes that it needs at least, and how much memory.

    python -m benchmarks.representations

Medians of several rounds, measured in turn in one process, on EfficientNet-Lite0 and one pair of photographs; memory is
the growth of the process's peak while a profile and the maps of one stage are computed.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable

import torch

import lab
from lab.analysis.activations import activations, depth, layers

ROUNDS = 9


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Prints the ratio and the memory."""
    model = lab.load_model("imagenet/efficientnet_lite0")
    x = lab.load_picture("cat", model.card)
    attacked = (x + 4 / 255).clamp(0, 1)

    def forwards() -> None:
        with torch.no_grad():
            model(x)
            model(attacked)

    forwards()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    depth(model, x, attacked)
    stage = next(layer for layer in layers(model, x) if layer.is_map)
    activations(model, torch.cat([x, attacked]), [stage.name])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pairs = [(seconds(forwards), seconds(lambda: depth(model, x, attacked))) for _ in range(ROUNDS)]
    raw, profile = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(f"two forward passes {raw * 1e3:.0f} ms, depth profile {profile * 1e3:.0f} ms: {profile / raw:.2f} times")
    print(f"peak memory grew by {grown / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
