"""The pages that the entry leads to, in the order of the navigation."""

from __future__ import annotations

from typing import Any

from lab.ui.pages.attack.page import PAGE as ATTACK
from lab.ui.pages.blackbox.page import PAGE as BLACKBOX
from lab.ui.pages.capsules.page import PAGE as CAPSULES
from lab.ui.pages.clever.page import PAGE as CLEVER
from lab.ui.pages.compare.page import PAGE as COMPARE
from lab.ui.pages.defenses.page import PAGE as DEFENSES
from lab.ui.pages.representations.page import PAGE as REPRESENTATIONS
from lab.ui.pages.robustness.page import PAGE as ROBUSTNESS
from lab.ui.pages.transfer.page import PAGE as TRANSFER
from lab.ui.shell.page import Page

PAGES: tuple[Page[Any, Any], ...] = (
    ATTACK,
    COMPARE,
    REPRESENTATIONS,
    TRANSFER,
    BLACKBOX,
    CLEVER,
    ROBUSTNESS,
    DEFENSES,
    CAPSULES,
)
