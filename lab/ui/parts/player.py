"""The player of a film: pictures and curves that are scrubbed in the browser, by mouse, touch or keyboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.ui.parts.component import component

_play = component("player")


def show_player(film: Mapping[str, Any], key: str) -> None:
    """Shows a film of `lab.figures.film`; the script does not run again while it plays."""
    _play(key=key, data=dict(film))
