"""Errors of the lab as sentences on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from lab.types import LabError

T = TypeVar("T")


def say(error: LabError) -> None:
    """Shows an error as one sentence."""
    text = str(error)
    st.error(text[0].upper() + text[1:] + ("" if text.endswith((".", "?")) else "."), icon=":material/error:")


def attempt(draw: Callable[[], T]) -> T | None:
    """What `draw` returns; None where it raises an error of the lab, after saying it."""
    try:
        return draw()
    except LabError as e:
        say(e)
        return None
