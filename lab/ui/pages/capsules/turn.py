"""The tab in which a class capsule is turned."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
import torch
from torch import Tensor

from lab.experiments.capsules.look import OFFSETS, Look, sweep, turned
from lab.figures import capsules as figures
from lab.models.capsnet import CapsNet
from lab.ui.pages.capsules.setup import NAME, PICTURE_WIDTH, Setup
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import strip, thumbnail, tiles
from lab.ui.shell.ask import Ask
from lab.ui.shell.prose import prose

FURTHEST = 0.5
"""How far a dimension can be turned by hand."""
SLIDER_WIDTH = 150
"""Width in pixels of a slider."""
KEY = Ask(NAME).key


def turn(setup: Setup, result: Look) -> None:
    """Every dimension by itself, and all of them by hand."""
    left, right = st.columns(2)
    which = left.segmented_control(
        "Capsule of the image",
        (0, 1),
        default=0,
        required=True,
        key=KEY("turn_image"),
        format_func=lambda k: ("clean", "attacked")[k],
    )
    row = int(which or 0)
    label = right.selectbox(
        "Class",
        range(len(result.classes)),
        result.seen[row],
        key=KEY(f"turn_class_{result.seen[row]}"),
        format_func=lambda k: f"{result.classes[k]}, length {result.inside.lengths[row, k]:.2f}",
    )
    net, k = setup.net, int(label)
    capsule = result.inside.capsules[row, k]
    _by_hand(net, capsule, k, result.x[row])
    st.markdown("**Every dimension by itself**")
    show_chart(figures.turned(sweep(net, capsule, k), OFFSETS), "sheet", prose(NAME, "Every dimension"))


@st.fragment
def _by_hand(net: CapsNet, capsule: Tensor, label: int, x: Tensor) -> None:
    """Sliders for all dimensions, and the drawing that results."""
    size = len(capsule)
    keys = [KEY(f"turn_{d}") for d in range(size)]
    for key in keys:
        st.session_state.setdefault(key, 0.0)
    st.markdown("**Turned by hand**")
    pictures = st.container()
    with st.container(width=5 * SLIDER_WIDTH):  # four in a row, two on a narrow screen
        moved = [
            place.slider(f"Dimension {d + 1}", -FURTHEST, FURTHEST, step=0.05, key=key, format="%+.2f")
            for d, (key, place) in enumerate(zip(keys, tiles(size, SLIDER_WIDTH), strict=True))
        ]
    st.button("Reset", key=KEY("turn_reset"), on_click=_reset, args=(keys,), icon=":material/restart_alt:")
    offsets = torch.stack([torch.zeros(size), torch.tensor(moved)])
    plain, new = turned(net, capsule, label, offsets)
    length = float((capsule + offsets[1]).norm())
    row = (
        (plain, f"As it is: length {float(capsule.norm()):.2f}"),
        (new, f"**Turned**: length {length:.2f}, the drawing moved by {float((new - plain).norm()):.2f}"),
        (x, "The image that the capsule was found in"),
    )
    with pictures:
        strip(((thumbnail(picture, PICTURE_WIDTH), caption) for picture, caption in row), PICTURE_WIDTH)


def _reset(keys: Sequence[str]) -> None:
    for key in keys:
        st.session_state[key] = 0.0
