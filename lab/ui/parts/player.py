"""The player of a film: pictures and curves that are scrubbed in the browser, by mouse, touch or keyboard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent
_play = st.components.v2.component(
    "lab_player",
    css=(HERE / "player.css").read_text(encoding="utf-8"),
    js=(HERE / "player.js").read_text(encoding="utf-8"),
)


def show_player(film: Mapping[str, Any], key: str) -> None:
    """Shows a film of `lab.figures.film`; the script does not run again while it plays."""
    _play(key=key, data=dict(film))
