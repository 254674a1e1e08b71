"""The Defenses page: four views, each a page of its own under one switch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab.ui.pages.defenses import training
from lab.ui.pages.defenses.guards.page import PAGE as GUARDS
from lab.ui.pages.defenses.leaderboard import PAGE as LEADERBOARD
from lab.ui.pages.defenses.smoothing import PAGE as SMOOTHING
from lab.ui.shell.ask import Ask
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

NAME = "defenses"
VIEWS: Mapping[str, Callable[[], None]] = {
    GUARDS.title: GUARDS.draw_within,
    SMOOTHING.title: SMOOTHING.draw_within,
    "Adversarial training": training.view,
    LEADERBOARD.title: LEADERBOARD.draw_within,
}
"""What each view is called, and what draws it."""


def views() -> None:
    """Draws the switch, and the view that is chosen."""
    VIEWS[Ask(NAME).segment("view", "View", VIEWS, GUARDS.title, label_visibility="collapsed", width="content")]()


PAGE: Page[Any, Any] = Page(
    name=NAME,
    title="Defenses",
    icon=":material/security:",
    about=prose(NAME, "About"),
    body=views,
)
