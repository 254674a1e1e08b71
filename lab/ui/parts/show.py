"""How the pages show a picture and a chart."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import TypeVar

import plotly.graph_objects as go
import streamlit as st
from PIL import Image
from torch import Tensor

from lab.figures.pictures import enlarge
from lab.figures.style import CONFIG, larger
from lab.images import bytes_of
from lab.ui.shell.look import LARGER, is_large
from lab.ui.shell.words import plain

T = TypeVar("T")
TILE = 224
"""The width in pixels near which pictures are shown; small ones are enlarged by a whole factor."""


def show_image(x: Tensor, alt: str, zoom: float = 1) -> None:
    """An image [C,H,W] in [0,1], pixel for pixel: PNG, enlarged by a whole factor, shown at its own width."""
    show_pixels(bytes_of(enlarge(x, round(TILE * zoom))), alt)


def show_pixels(pixels: Tensor, alt: str) -> None:
    """The bytes [H,W,C] of a picture, pixel for pixel.

    The picture travels within the page: one with an address of its own may be gone by the time that it is asked for.
    """
    file = io.BytesIO()
    Image.fromarray(pixels.numpy().squeeze()).save(file, "PNG", compress_level=1)
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    st.image(url, width=pixels.shape[1], alt=plain(alt))


def shown_width(x: Tensor, zoom: float = 1) -> int:
    """The width in pixels at which `show_image` shows an image."""
    return int(enlarge(x, round(TILE * zoom)).shape[-1])


def show_chart(
    figure: go.Figure, key: str, how: str = "", alt: str = "", on_select: Callable[[], None] | None = None
) -> None:
    """A chart across the column, one line on how to read it below; a click on a point calls `on_select`."""
    st.plotly_chart(
        larger(figure, LARGER) if is_large() else figure,
        key=key,
        width="stretch",
        config=CONFIG,
        alt=plain(alt or how) or None,
        on_select=on_select or "ignore",
        selection_mode="points",
    )
    if how:
        st.caption(how)
