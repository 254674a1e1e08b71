"""The Defenses page: four views, each a page of its own under one switch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from lab.ui.pages.defenses.guards.page import PAGE as GUARDS
from lab.ui.pages.defenses.leaderboard import PAGE as LEADERBOARD
from lab.ui.pages.defenses.smoothing import PAGE as SMOOTHING
from lab.ui.pages.defenses.training.page import PAGE as TRAINING
from lab.ui.shell.ask import Ask
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

NAME = "defenses"
VIEWS: Mapping[str, Page[Any, Any]] = {page.title: page for page in (GUARDS, SMOOTHING, TRAINING, LEADERBOARD)}
"""What each view is called."""


def views() -> None:
    """Draws the switch, and the view that is chosen."""
    place = st.container()
    chosen = Ask(NAME).segment("view", "View", VIEWS, GUARDS.title, label_visibility="collapsed", width="content")
    with place:
        VIEWS[chosen].head("Defenses · ")
    VIEWS[chosen].draw_within()


PAGE: Page[Any, Any] = Page(
    name=NAME,
    title="Defenses",
    icon=":material/security:",
    about=prose(NAME, "About"),
    body=views,
)
