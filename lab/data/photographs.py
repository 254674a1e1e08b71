"""The photographs that come with the lab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from lab.assets import ASSETS
from lab.data.uploads import decode
from lab.models.cards import Card, Fit
from lab.tensors import Images
from lab.types import ImageError


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


def labelled(fit: Fit) -> Images:
    """The photographs that have an ImageNet class, fitted to a model."""
    chosen = [p for p in photographs().values() if p.label is not None]
    x = torch.cat([fit(p.open()) for p in chosen])
    return Images(x, torch.tensor([p.label for p in chosen]), [p.id for p in chosen])


def load_picture(name: str | Path, card: Card) -> torch.Tensor:
    """A picture as a model sees it.

    Args:
        name: the id of a bundled photograph, e.g. "cat", or the path of a picture file.
        card: of the model; its `fit` scales and crops the picture as in the model's training.

    Returns:
        float32 [1,C,H,W] in [0,1].

    Raises:
        ImageError: where there is no such photograph or file, or the file is no usable picture.
    """
    if str(name) in photographs():
        return card.fit(photographs()[str(name)].open())
    try:
        data = Path(name).read_bytes()
    except (OSError, ValueError):  # ValueError for a name with a NUL
        known = ", ".join(photographs())
        raise ImageError(f"there is no picture '{name}': give the path of a file, or one of {known}") from None
    return card.fit(decode(data))
