"""How the pages show things: exact pictures, charts, errors."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitPageNotFoundError
from torch import Tensor

from lab.figures.pictures import bytes_of, enlarge
from lab.figures.style import CONFIG
from lab.types import LabError

TILE = 224
"""The width in pixels near which pictures are shown; small ones are enlarged by a whole factor."""


def say(error: LabError) -> None:
    """An error as one sentence."""
    text = str(error)
    st.error(text[0].upper() + text[1:] + ("" if text.endswith(".") else "."), icon=":material/error:")


def show_image(x: Tensor, alt: str, zoom: int = 1) -> None:
    """An image [C,H,W] in [0,1], pixel for pixel: PNG, enlarged by a whole factor, shown at its own width."""
    pixels = bytes_of(enlarge(x, TILE * zoom)).numpy()
    st.image(pixels, width=pixels.shape[1], output_format="PNG", alt=alt)


def link_to(path: str, label: str, query: Mapping[str, str] | None = None, icon: str | None = None) -> None:
    """A link to another page; plain text where the page runs alone, without app.py's navigation."""
    try:
        st.page_link(path, label=label, icon=icon, query_params=dict(query) if query else None)
    except StreamlitPageNotFoundError:
        st.markdown(label)


def tiles(count: int, width: int) -> list[DeltaGenerator]:
    """Containers of one width side by side; on a narrow screen they wrap instead of shrinking their pictures."""
    row = st.container(horizontal=True, gap="medium")
    return [row.container(width=width) for _ in range(count)]


def shown_width(x: Tensor, zoom: int = 1) -> int:
    """The width in pixels at which `show_image` shows an image."""
    return int(enlarge(x, TILE * zoom).shape[-1])


def show_chart(figure: go.Figure, key: str, how: str = "", alt: str = "") -> None:
    """A chart across the column, with one line on how to read it below."""
    st.plotly_chart(figure, key=key, width="stretch", config=CONFIG, alt=alt or how or None)
    if how:
        st.caption(how)
