"""Pictures side by side: rows that wrap on a narrow screen instead of shrinking what they show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor
from torch.nn import functional as F

from lab.figures.pictures import enlarge
from lab.images import bytes_of
from lab.ui.parts.show import show_image, show_pixels, shown_width

THUMBNAIL = 96
"""Width of a small picture in pixels."""


@dataclass(frozen=True)
class Tile:
    """A picture [C,H,W] with its title, what is said below it, and what is explained beside the title."""

    title: str
    x: Tensor
    caption: str
    help: str | None = None


def show_tiles(columns: Sequence[Sequence[Tile]], zoom: float = 1) -> None:
    """Columns of pictures of one size; where the screen is too narrow they wrap, on a telephone two by two."""
    row = st.container(horizontal=True, gap="medium", key="tiles")
    for column in columns:
        with row.container(width=shown_width(column[0].x, zoom)):
            for tile in column:
                st.markdown(f"**{tile.title}**", help=tile.help)
                show_image(tile.x, f"{tile.title}: {tile.caption}", zoom)
                st.caption(tile.caption)


def tiles(count: int, width: int) -> list[DeltaGenerator]:
    """Containers of one width side by side; on a narrow screen they wrap instead of shrinking their pictures."""
    row = st.container(horizontal=True, gap="medium")
    return [row.container(width=width) for _ in range(count)]


def strip(pictures: Iterable[tuple[Tensor, str]], width: int = THUMBNAIL) -> None:
    """Small pictures, as bytes [H,W,C], in a row that wraps, each with a line of text."""
    stacks(([picture] for picture in pictures), width)


def stacks(columns: Iterable[Iterable[tuple[Tensor, str]]], width: int = THUMBNAIL) -> None:
    """Small pictures in columns, each with a line of text; a column stays together where the row wraps."""
    row = st.container(horizontal=True, gap="small")
    for column in columns:
        with row.container(width=width):
            for pixels, name in column:
                show_pixels(pixels, name)
                st.caption(name)


def thumbnail(x: Tensor, width: int = THUMBNAIL) -> Tensor:
    """An image [C,H,W] as the bytes [H,W,C] of a small picture; small ones stay exact, large ones are averaged."""
    if x.shape[-1] <= width:
        return bytes_of(enlarge(x, width))
    return bytes_of(F.interpolate(x[None], (width, width), mode="area")[0])
