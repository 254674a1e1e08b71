"""Pictures to choose from by looking at them, and a square to draw one on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import streamlit as st
from PIL import Image

from lab.data import load_data
from lab.data.photographs import photographs
from lab.figures.pictures import data_url
from lab.images import from_picture
from lab.ui.parts.component import component

THUMB = 112
"""Width of a thumbnail in pixels."""
_gallery = component("gallery")
_canvas = component("canvas")


@dataclass(frozen=True)
class Thumbnail:
    """A picture to choose: its id, what it shows, and itself as a data URL."""

    id: str
    name: str
    image: str


def show_gallery(pictures: Sequence[Thumbnail], chosen: str, key: str) -> str | None:
    """Shows pictures to choose from; the id of the one that was just clicked.

    Args:
        pictures: in order.
        chosen: id of the one in use.
        key: of the widget.
    """
    shown = [{"id": each.id, "name": each.name, "image": each.image} for each in pictures]
    clicked = _gallery(key=key, data={"pictures": shown, "chosen": chosen}, on_chosen_change=lambda: None)
    return None if clicked.chosen is None else str(clicked.chosen)


@cache
def of_photographs() -> tuple[Thumbnail, ...]:
    """Thumbnails of the bundled photographs, by what they show."""
    found = []
    for name, photograph in photographs().items():
        picture = photograph.open()
        picture.thumbnail((2 * THUMB, 2 * THUMB), Image.Resampling.LANCZOS)
        found.append(Thumbnail(name, photograph.title, data_url(from_picture(picture)[0], 1, "JPEG")))
    return tuple(sorted(found, key=lambda each: each.name))


@cache
def of_dataset(key: str, label: int) -> tuple[Thumbnail, ...]:
    """Thumbnails of a data set's images of one class."""
    data = load_data(key)
    rows = (data.y == label).nonzero().flatten().tolist()
    return tuple(Thumbnail(str(i), str(i), data_url(data.x[i], 56)) for i in rows)


def draw_on_canvas(key: str) -> bytes:
    """Shows a square to draw on; the drawing as a PNG, nothing where there is none.

    It is kept for the session, so that it survives a change of page.
    """
    kept = f"_{key}"
    found = _canvas(key=key, data={"picture": st.session_state.get(kept, "")}, on_picture_change=lambda: None)
    if found.picture is not None:
        st.session_state[kept] = str(found.picture)
    try:
        return base64.b64decode(str(st.session_state.get(kept, "")).partition(",")[2], validate=True)
    except binascii.Error:
        return b""
