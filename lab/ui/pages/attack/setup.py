"""What the Attack page asks."""

from __future__ import annotations

from lab.ui.parts.scenario import Scenario
from lab.ui.parts.shared import pick_scenario
from lab.ui.shell.ask import Ask

NAME = "attack"
UNMOVED = "The picture did not move, so there is no direction to follow."


def choose(ask: Ask) -> Scenario | None:
    """Draws the settings; they stand in links without the page's name."""
    return pick_scenario()
