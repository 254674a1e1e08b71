"""What the lab knows of a model: its card, how pictures are fitted to it, and the classifier that carries both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.images import Fit
from lab.types import Model, ModelError

REFERENCE_EPS: Mapping[str, float] = {"mnist": 0.3, "fashion_mnist": 0.1}
"""The epsilon in L-infinity at which models of a task are compared, and at which their cards state accuracies."""


@dataclass(frozen=True)
class RobustAccuracy:
    """A measured robust accuracy.

    Attributes:
        attack: the attack, with its budget.
        norm: "linf" or "l2".
        eps: size of the perturbation.
        accuracy: share of the n images still classed right under attack.
        n: images measured.
        notes: how the attack was run, where that is known.
        device: what it was measured on, where that is known.
    """

    attack: str
    norm: str
    eps: float
    accuracy: float
    n: int
    notes: str = ""
    device: str = ""


@dataclass(frozen=True)
class Card:
    """What is known of a model.

    Attributes:
        key: its name in code and links, "task/name".
        name: its name for a person.
        summary: one sentence.
        classes: class names in the order of the logits.
        input_shape: (C, H, W).
        fit: how a picture becomes its input.
        source: where architecture and weights come from.
        licence: of the weights.
        bundled: works without any download beyond the packages.
        parameters: number of weights, where known.
        accuracy: top-1 on the official test set, share; None where it was not measured by the lab.
        accuracy_note: what was measured, or who reports it.
        robust: measured robust accuracies.
        details: whatever else its training recorded.
    """

    key: str
    name: str
    summary: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    fit: Fit
    source: str
    licence: str
    bundled: bool
    parameters: int | None = None
    accuracy: float | None = None
    accuracy_note: str = ""
    robust: tuple[RobustAccuracy, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def under_attack(self, eps: float) -> RobustAccuracy | None:
        """The lowest accuracy measured at this epsilon (L-infinity), None where none was measured."""
        found = [r for r in self.robust if r.norm == "linf" and abs(r.eps - eps) < 1e-9]
        return min(found, key=lambda r: r.accuracy, default=None)

    def measured(self, attack: str, eps: float) -> RobustAccuracy | None:
        """The lowest accuracy measured under an attack at this epsilon (L-infinity), None where none was measured."""
        found = [r for r in self.robust if (r.attack, r.norm) == (attack, "linf") and abs(r.eps - eps) < 1e-6]
        return min(found, key=lambda r: r.accuracy, default=None)

    @property
    def task(self) -> str:
        """The label space: "imagenet", "mnist" or "fashion_mnist"; models of one task can be compared."""
        return self.key.split("/")[0]


class Classifier(nn.Module):
    """A network with its card: images [N,C,H,W] in [0,1] -> logits [N,K], normalisation inside.

    Frozen and in eval mode. Shared by everyone who loads it, so it is never to be changed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, card: Card, mean: Sequence[float] = (), std: Sequence[float] = ()) -> None:
        super().__init__()
        self.net, self.card = net, card
        self.normalises = bool(mean)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,K], on the device of the images, wherever the network lies."""
        here = x.to(self.mean.device)
        logits: Tensor = self.net((here - self.mean) / self.std if self.normalises else here)
        return logits.to(x.device)


@dataclass(frozen=True)
class ModelSpec:
    """One model of the catalogue: its card and how to load it (both made when asked for)."""

    key: str
    card: Callable[[], Card]
    load: Callable[[], Classifier]


def resized(x: Tensor, model: Model) -> Tensor:
    """Images [N,C,H,W] in the size that a model of the lab was trained for; any other model takes them as they are."""
    if not isinstance(model, Classifier) or tuple(x.shape[-2:]) == model.card.input_shape[1:]:
        return x
    new = F.interpolate(x, model.card.input_shape[1:], mode="bilinear", antialias=True)
    return new.clamp(0, 1)  # rounding leads out of the range


def read_card(path: Path) -> dict[str, Any]:
    """The JSON card beside a weights file.

    Raises:
        ModelError: where there is none or it is not JSON.
    """
    try:
        card: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as e:
        raise ModelError(f"the model card {path.name} is missing or damaged: restore it from the repository") from e
    return card
