"""What the lab knows of a model: its card, how pictures are fitted to it, and the classifier that carries both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lab.types import ImageError, Model, ModelError


@dataclass(frozen=True)
class Fit:
    """How a picture becomes the model's input, as in the model's training.

    Attributes:
        resize: the shorter side is scaled to this many pixels.
        crop: then the central square of this side is kept.
        interpolation: how it is scaled (antialiased).
        gray: colours are reduced to luminance.
        bright_on_dark: the classes are drawn bright on black; pictures with a bright border are inverted.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    gray: bool = False
    bright_on_dark: bool = False

    def __call__(self, picture: Image.Image) -> Tensor:
        """The model's input float32 [1,C,H,W] in [0,1] from a picture of any size.

        Raises:
            ImageError: for a picture so narrow that nothing is left of it.
        """
        picture = picture.convert("L" if self.gray else "RGB")
        width, height = picture.size
        if min(width, height) < 2:
            raise ImageError(f"the picture is {width} x {height} pixels: at least 2 x 2 are needed")
        scale = self.resize / min(width, height)
        size = max(self.crop, round(width * scale)), max(self.crop, round(height * scale))
        left, top = (size[0] - self.crop) // 2, (size[1] - self.crop) // 2
        # only the part of the original that is kept is scaled, however long the picture is
        box = (left / scale, top / scale, (left + self.crop) / scale, (top + self.crop) / scale)
        box = (box[0], box[1], min(box[2], width), min(box[3], height))
        method = Image.Resampling.BICUBIC if self.interpolation == "bicubic" else Image.Resampling.BILINEAR
        fitted = picture.resize((self.crop, self.crop), method, box=box)
        channels = len(fitted.getbands())
        x = torch.frombuffer(bytearray(fitted.tobytes()), dtype=torch.uint8).view(self.crop, self.crop, channels)
        x = x.permute(2, 0, 1).unsqueeze(0).contiguous().float() / 255
        if self.bright_on_dark and _border(x) > 0.5:
            x = 1 - x
        return x

    def describe(self) -> str:
        """The steps, for a person."""
        parts = [f"shorter side scaled to {self.resize}", f"central {self.crop} x {self.crop} kept"]
        if self.gray:
            parts.append("reduced to gray")
        if self.bright_on_dark:
            parts.append("inverted where its border is bright")
        return ", ".join(parts)


def _border(x: Tensor) -> float:
    edge = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], dim=-1)
    return edge.mean().item()


@dataclass(frozen=True)
class Robust:
    """A measured robust accuracy.

    Attributes:
        attack: the attack, with its budget.
        norm: "linf" or "l2".
        eps: size of the perturbation.
        accuracy: share of the n images still classed right under attack.
        n: images measured.
    """

    attack: str
    norm: str
    eps: float
    accuracy: float
    n: int


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
    robust: tuple[Robust, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def under_attack(self, eps: float) -> Robust | None:
        """The lowest accuracy measured at this epsilon (L-infinity), None where none was measured."""
        found = [r for r in self.robust if r.norm == "linf" and abs(r.eps - eps) < 1e-9]
        return min(found, key=lambda r: r.accuracy, default=None)

    def measured(self, attack: str, eps: float) -> Robust | None:
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
        """Logits [N,K]."""
        logits: Tensor = self.net((x - self.mean) / self.std if self.normalises else x)
        return logits


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
