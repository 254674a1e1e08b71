"""The Defenses page: four views, each with its own settings in the sidebar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from lab.ui.pages.defenses import guards, leaderboard, smoothing, training
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

VIEWS: Mapping[str, Callable[[], None]] = {
    "Transform or detect": guards.view,
    "Randomized smoothing": smoothing.view,
    "Adversarial training": training.view,
    "All models": leaderboard.view,
}
"""What each view is called, and what draws it."""


def view() -> None:
    """Draws the switch, and the view that is chosen."""
    chosen = st.segmented_control(
        "View",
        list(VIEWS),
        default=next(iter(VIEWS)),
        required=True,
        key="d_view",
        bind="query-params",
        label_visibility="collapsed",
    )
    VIEWS[str(chosen)]()


def _body() -> None:
    view()


PAGE: Page[Any, Any] = Page(
    name="defenses",
    title="Defenses",
    icon=":material/security:",
    about=prose("defenses", "About"),
    shared=False,
    body=_body,
)
