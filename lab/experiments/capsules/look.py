"""What a capsule network makes of one image, clean and attacked: its parts, its routing, and what it draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lab import devices
from lab.data.catalog import of_task
from lab.defenses.detect import Reconstruction, capsules_of, scores
from lab.experiments.defenses.attackers import Attackers, Detection, detected
from lab.images import Images
from lab.models.capsnet import CapsNet, Capsules, squash
from lab.models.cards import Classifier
from lab.predict import classes_of
from lab.progress import SILENT, Progress
from lab.types import Model

OFFSETS = tuple(k / 20 for k in range(-5, 6))
"""What is added to one dimension of a class capsule, from drawing to drawing (Sabour et al. 2017, figure 4)."""


def lengths_by_iteration(inside: Capsules) -> Tensor:
    """Lengths of the class capsules [R,N,K] that each iteration's routing makes of the votes."""
    votes = inside.votes.transpose(1, 2)  # [N,K,I,D]
    sums = [(shares.transpose(1, 2).unsqueeze(2) @ votes).squeeze(2) for shares in inside.routing]
    return torch.stack([squash(s).norm(dim=2) for s in sums])


def primary_maps(net: CapsNet, inside: Capsules) -> Tensor:
    """Lengths of the primary capsules [N,T,h,w]: a map over the image for each type."""
    types = net.primary.out_channels // net.pose
    height = (net.shape[1] - 15) // 2
    maps: Tensor = inside.primary.norm(dim=2).unflatten(1, (types, height, -1))
    return maps


def turned(net: CapsNet, capsule: Tensor, label: int, offsets: Tensor) -> Tensor:
    """Drawings [M,C,H,W] of a class capsule [D] with offsets [M,D] added to it; the other classes stay masked."""
    capsules = torch.zeros(len(offsets), net.transform.shape[1], len(capsule), device=net.transform.device)
    capsules[:, label] = (capsule + offsets).to(capsules)
    labels = torch.full((len(offsets),), label, device=capsules.device)
    with torch.no_grad():
        return net.reconstruct(capsules, labels).cpu()


def sweep(net: CapsNet, capsule: Tensor, label: int, steps: Sequence[float] = OFFSETS) -> Tensor:
    """Drawings [D,S,C,H,W] of a class capsule [D] with each dimension in turn moved by each step.

    Source: Sabour et al. 2017, section 5.1 and figure 4.
    """
    size = len(capsule)
    offsets = torch.eye(size).unsqueeze(1) * torch.tensor(steps).view(1, -1, 1)  # [D,S,D]
    drawings: Tensor = turned(net, capsule, label, offsets.flatten(0, 1)).unflatten(0, (size, len(steps)))
    return drawings


@dataclass(frozen=True)
class Look:
    """One image, clean first and attacked second, and all that the figures depend on; all on the CPU.

    Attributes:
        x: the images [2,C,H,W].
        label: the true class.
        seen: the classes that the network sees, clean and attacked.
        inside: the capsules of both.
        drawn: what it draws of the class that it sees [2,C,H,W].
        true: what it draws of the true class [2,C,H,W].
        distance: L2 distance of each image from `drawn`.
        detection: the drawing as a detector, before any attack.
        attackers: how the image was attacked.
        model: key of the network.
        dataset: key of the image's data set.
        image: the image's name.
        classes: names of the classes.
    """

    x: Tensor
    label: int
    seen: tuple[int, int]
    inside: Capsules
    drawn: Tensor
    true: Tensor
    distance: tuple[float, float]
    detection: Detection
    attackers: Attackers
    model: str
    dataset: str
    image: str
    classes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return True

    def name(self, which: int) -> str:
        """The name of the class seen in the clean (0) or in the attacked (1) image."""
        return self.classes[self.seen[which]]

    def length(self, which: int) -> float:
        """The length of the winning capsule."""
        return float(self.inside.lengths[which, self.seen[which]])

    def record(self) -> dict[str, Any]:
        """What was done to the image, and what the network makes of it before and after."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "image": self.image,
            "class": self.classes[self.label],
            "attack": self.attackers.attack,
            "params": dict(self.attackers.params),
            "seed": self.attackers.seed,
            "linf": float((self.x[1] - self.x[0]).abs().max()),
            "detector": {
                "threshold": self.detection.limit,
                "set for": self.detection.rate,
                "false positives": self.detection.false,
            },
            **{
                kind: {
                    "seen": self.name(which),
                    "lengths": dict(zip(self.classes, self.inside.lengths[which].tolist(), strict=True)),
                    "distance from the drawing": self.distance[which],
                    "flagged": self.distance[which] > self.detection.limit,
                }
                for which, kind in enumerate(("clean", "attacked"))
            },
        }

    def rows(self) -> list[dict[str, Any]]:
        """The lengths of the class capsules."""
        clean, attacked = self.inside.lengths.tolist()
        return [
            {"class": name, "clean": before, "attacked": after}
            for name, before, after in zip(self.classes, clean, attacked, strict=True)
        ]


def calibrate(model: Model, clean: Tensor, y: Tensor, *, rate: float, seed: int) -> Detection:
    """The drawing as a detector before any attack: its threshold, and the clean images' distances.

    Args:
        model: a capsule network.
        clean: images [M,C,H,W], of which a random half sets the threshold.
        y: their classes [M].
        rate: the false-positive rate that the threshold is set for.
        seed: of the halves.
    """
    return next(detected(Reconstruction(), model, clean, clean[:1], y[:1], Attackers("fgsm", {}, seed), rate=rate))


def look(
    model: Classifier, data: Images, attackers: Attackers, detection: Detection, *, progress: Progress = SILENT
) -> Look:
    """Attacks one image, away from the class that a capsule network sees in it, and looks into the network.

    Args:
        model: a capsule network of the catalogue.
        data: the image.
        attackers: how it is attacked.
        detection: from `calibrate`.
        progress: hears of the attack.

    Raises:
        Cancelled: where it was stopped.
    """
    net, device = capsules_of(model), devices.of(model, torch.empty(0))
    x, label = data.x.to(device), int(data.y)
    progress.tell(0.0, attackers.attack)
    both = torch.cat([x, attackers(model, x, classes_of(model, x).to(device), progress=progress)])
    with torch.no_grad():
        inside = net.explore(both)
        seen = inside.lengths.argmax(1)
        labels = torch.full((2,), label, device=device)
        drawn, true = (net.reconstruct(inside.capsules, k).cpu() for k in (seen, labels))
        clean, attacked = scores(Reconstruction(), model, both).tolist()
    return Look(
        x=both.cpu(),
        label=label,
        seen=(int(seen[0]), int(seen[1])),
        inside=_on_cpu(inside),
        drawn=drawn,
        true=true,
        distance=(clean, attacked),
        detection=detection,
        attackers=attackers,
        model=model.card.key,
        dataset=of_task(model.card.task).key,
        image=data.ids[0],
        classes=model.card.classes,
    )


def _on_cpu(inside: Capsules) -> Capsules:
    moved: dict[str, Any] = {f.name: getattr(inside, f.name).cpu() for f in fields(inside) if f.name != "routing"}
    return Capsules(routing=tuple(shares.cpu() for shares in inside.routing), **moved)
