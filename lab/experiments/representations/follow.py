"""The features of a network along an attack: on the straight way to the attacked image, and on the attack's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.experiments.attack.run import AttackRun
from lab.experiments.representations.activations import features
from lab.progress import SILENT, Progress
from lab.types import Model

STEPS = 9
"""Images on the straight way, clean and attacked among them."""
TOGETHER = 20
"""Images that go through the network together; between them the work can be stopped."""


@dataclass(frozen=True)
class Followed:
    """What every stage answers along an attack, as vectors [N,D], by the stage's name.

    Attributes:
        way: for STEPS images on the straight line from the clean to the attacked one.
        path: for the images of the trajectory that were kept, the clean one first; the result follows where it is none
            of them.
        steps: how many iterations lie behind each image of the path; None for such a result.
    """

    way: Mapping[str, Tensor]
    path: Mapping[str, Tensor]
    steps: tuple[int | None, ...]


def follow(model: Model, run: AttackRun, *, progress: Progress = SILENT) -> Followed:
    """The features of every stage along an attack.

    Raises:
        Cancelled: where the work is to stop.
    """
    share = torch.linspace(0, 1, STEPS).view(-1, 1, 1, 1)
    frames = [frame for frame in run.result.frames if len(frame.x)][1:]
    beside = not any(torch.equal(frame.x, run.attacked) for frame in frames)
    path = [run.clean, *(frame.x for frame in frames), *([run.attacked] if beside else [])]
    images = torch.cat([run.clean + share * (run.attacked - run.clean), *path])
    parts = []
    for k in range(0, len(images), TOGETHER):
        progress.tell(k / len(images), f"{k} of {len(images)} pictures")
        parts.append(features(model, images[k : k + TOGETHER]))
    all_of_them = joined(parts)
    return Followed(
        {name: answers[:STEPS] for name, answers in all_of_them.items()},
        {name: answers[STEPS:] for name, answers in all_of_them.items()},
        (0, *(frame.step for frame in frames), *([None] if beside else [])),
    )


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The features of all parts of a set of images, by stage."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
