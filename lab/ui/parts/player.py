"""The player of a film: pictures and curves that are scrubbed in the browser, by mouse, touch or keyboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from lab.ui.parts.component import component

_play = component("player")


def show_player(film: Mapping[str, Any], key: str, stop: int, chosen: Callable[[int], None]) -> None:
    """Shows a film of `lab.figures.film`; the script does not run again while it plays or is scrubbed.

    Args:
        film: to be shown.
        key: of the widget.
        stop: where it is shown at first.
        chosen: called with the stop at which the person has left it.
    """

    @st.fragment
    def draw() -> None:
        left = _play(key=key, data={**film, "start": stop}, on_stop_change=lambda: None)
        if left.stop is not None:
            chosen(int(left.stop))

    draw()
