"""What the depth profile costs beside the two forward passes that it needs at least, and how much memory.

    python -m benchmarks.representations

Time: medians of several rounds, measured in turn in one process, on EfficientNet-Lite0 and one pair of photographs.
Memory (Linux): how far the process's peak rises above what it holds with the network loaded, for one pair of pictures:
while a depth profile is computed, and while the feature maps of the stage with the most values are. Weights do not
matter for memory, so ResNet-50's are random.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import lab
from lab.experiments.representations.activations import activations, depth, layers
from lab.models.torchvision import torchvision

ROUNDS = 9
PROCESS = Path("/proc/self")


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def status(field: str) -> float:
    """A size that Linux tells of this process, in MiB."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def peak(work: Callable[[], object]) -> tuple[float, float]:
    """How many MiB the process's memory rises while the work is done, and up to how many."""
    (PROCESS / "clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    work()
    return status("VmHWM") - before, status("VmHWM")


def memory(name: str, model: nn.Module, x: Tensor, attacked: Tensor) -> None:
    """Prints what a depth profile and the maps of one stage hold."""
    stage = max(layers(model, x), key=lambda layer: math.prod(layer.shape) if layer.is_map else 0)
    pair = torch.cat([x, attacked])
    for told, work in (
        ("depth profile", lambda: depth(model, x, attacked)),
        (f"maps of {stage.label}", lambda: activations(model, pair, [stage.name])),
    ):
        rise, most = peak(work)
        print(f"{name}, {told}: memory rises by {rise:.0f} MiB, to {most:.0f} MiB for the whole process")


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
    pairs = [(seconds(forwards), seconds(lambda: depth(model, x, attacked))) for _ in range(ROUNDS)]
    raw, profile = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(f"two forward passes {raw * 1e3:.0f} ms, depth profile {profile * 1e3:.0f} ms: {profile / raw:.2f} times")
    memory("EfficientNet-Lite0", model, x, attacked)
    memory("ResNet-50", torchvision().models.resnet50().eval().requires_grad_(False), x, attacked)


if __name__ == "__main__":
    main()
