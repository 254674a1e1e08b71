"""A network behind a staircase: its masked gradients make a score meaningless, until they are passed by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn

from lab.attacks import attack
from lab.defenses.preprocess import Preprocessed, staircase
from lab.experiments.clever.score import Sampling, score
from lab.progress import SILENT, Progress
from lab.types import Model

PLAIN, MASKED, PASSED = (
    "as it is",
    "behind a staircase, with its own gradient",
    "behind a staircase, gradient passed by (BPDA)",
)
"""The three networks."""


@dataclass(frozen=True)
class Step:
    """What one of the three networks gives for one image and target.

    Attributes:
        network: PLAIN, MASKED or PASSED.
        location: the estimated local Lipschitz constant.
        score: CLEVER's, to the target.
        distance: of the image that DeepFool found; infinite where it found none.
    """

    network: str
    location: float
    score: float
    distance: float


def steps(
    model: nn.Module, x: Tensor, seen: int, target: Tensor, sampling: Sampling, *, progress: Progress = SILENT
) -> Iterator[Step]:
    """Scores one image in all three networks, to the first order, and attacks it with DeepFool.

    Args:
        model: the network as it is.
        x: one image [1,C,H,W].
        seen: the class that the network sees in it.
        target: the other class, int64 [1,1].
        sampling: how the ball is sampled.
        progress: hears of the network at work.

    Source: Goodfellow 2018, "Gradient masking causes CLEVER to overestimate adversarial perturbation size"; the
        gradient passed by: Athalye et al. 2018.

    Raises:
        LabError: as `lab.clever` and `lab.attack`.
        Cancelled: where the work is to stop; the network at work counts for nothing.
    """
    sampling = replace(sampling, order=1)
    networks: dict[str, Model] = {
        PLAIN: model,
        MASKED: Preprocessed(model, staircase, "exact"),
        PASSED: Preprocessed(model, staircase, "bpda"),
    }
    for k, (name, network) in enumerate(networks.items()):
        part = progress.part(k / 3, (k + 1) / 3, name)
        scores = score(network, x, sampling, target, part.part(0.0, 0.6))
        result = attack("deepfool", network, x, seen, progress=part.part(0.6, 1.0, "deepfool"))
        part.check()
        distance = float(result.distance[sampling.norm][0]) if bool(result.success[0]) else math.inf
        yield Step(name, float(scores.location[0, 0]), float(scores.scores[0]), distance)
