"""The photographs that come with the lab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from lab.assets import ASSETS
from lab.data.spec import DataSpec
from lab.images import Fit, Images, decode
from lab.models.cards import Card
from lab.types import ImageError

CROPS = 12
"""Random crops of a photograph, where a set of many pictures is wanted."""
SMALLEST = 0.6
"""Side of the smallest random crop, as a share of the photograph's shorter side."""


@dataclass(frozen=True)
class Photograph:
    """One bundled photograph.

    Attributes:
        id: its name in links.
        file: file name in assets/images.
        title: what it shows, for a person.
        label: its ImageNet class, None where no class fits.
        source: the package it comes from.
        author: who made it, where known.
        licence: under which it is shipped.
    """

    id: str
    file: str
    title: str
    label: int | None
    source: str
    author: str | None
    licence: str

    def open(self) -> Image.Image:
        """The picture, RGB."""
        with Image.open(ASSETS / "images" / self.file) as picture:
            return picture.convert("RGB")


@cache
def photographs() -> Mapping[str, Photograph]:
    """The bundled photographs by id, in order."""
    listed = json.loads((ASSETS / "images" / "index.json").read_text(encoding="utf-8"))
    names = Photograph.__dataclass_fields__
    return {p["id"]: Photograph(**{k: v for k, v in p.items() if k in names}) for p in listed}


def with_label() -> list[Photograph]:
    """The photographs that have an ImageNet class."""
    return [p for p in photographs().values() if p.label is not None]


def labelled(fit: Fit) -> Images:
    """The photographs that have an ImageNet class, fitted to a model."""
    chosen = with_label()
    x = torch.cat([fit(p.open()) for p in chosen])
    return Images(x, torch.tensor([p.label for p in chosen]), [p.id for p in chosen])


def crops(photograph: Photograph, fit: Fit, count: int = CROPS, seed: int = 0) -> Images:
    """Random square crops of a photograph that has an ImageNet class, scaled to a model's input.

    Every second one is mirrored. They are no independent pictures: what holds for them holds for this one
    photograph. A seed draws the same crops of every photograph, relative to its size, so that none has luckier ones.
    """
    picture, rng = photograph.open(), torch.Generator().manual_seed(seed)
    scale = replace(fit, resize=fit.crop)
    width, height = picture.size
    x = []
    for k, (size, left, top) in enumerate(torch.rand(count, 3, generator=rng).tolist()):
        side = round(min(width, height) * (SMALLEST + (1 - SMALLEST) * size))
        at = round((width - side) * left), round((height - side) * top)
        crop = scale(picture.crop((*at, at[0] + side, at[1] + side)))
        x.append(crop.flip(-1) if k % 2 else crop)
    ids = [f"{photograph.id}, crop {k}" for k in range(1, count + 1)]
    return Images(torch.cat(x), torch.tensor([photograph.label] * count), ids)


def load_picture(name: str | Path, card: Card, *, device: torch.device | str = "cpu") -> torch.Tensor:
    """A picture as a model sees it.

    Args:
        name: the id of a bundled photograph, e.g. "cat", or the path of a picture file.
        card: of the model; its `fit` scales and crops the picture as in the model's training.
        device: where the picture is to lie.

    Returns:
        float32 [1,C,H,W] in [0,1].

    Raises:
        ImageError: where there is no such photograph or file, or the file is no usable picture.

    Example:
        >>> import lab
        >>> lab.load_picture("cat", lab.load_model("mnist/softmax").card).shape
        torch.Size([1, 1, 28, 28])
    """
    if str(name) in photographs():
        return card.fit(photographs()[str(name)].open()).to(device)
    try:
        data = Path(name).read_bytes()
    except (OSError, ValueError):  # ValueError for a name with a NUL
        known = ", ".join(photographs())
        raise ImageError(f"there is no picture '{name}': give the path of a file, or one of {known}") from None
    return card.fit(decode(data)).to(device)


SPEC = DataSpec(
    key="photographs",
    name="Photographs",
    task="imagenet",
    summary="Bundled photographs of ImageNet classes, fitted to the model (224 x 224 unless one is named).",
    test=labelled,
    official=False,
)
