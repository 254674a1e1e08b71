"""What the Compare page asks, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from lab.experiments.attack.run import AttackRun
from lab.ui.parts.compare_link import was_offered
from lab.ui.parts.pickers import ATTACK_A, ATTACK_B, pick_method
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.shared import shared
from lab.ui.shell.ask import Ask
from lab.ui.shell.page import run_at_once

NAME = "compare"
FIRST_A, FIRST_B = "fgsm", "mi_fgsm"
"""The attacks to begin with: one step, and ten steps with momentum."""


@dataclass(frozen=True)
class Pair:
    """Two scenarios that differ in the attack only."""

    a: Scenario
    b: Scenario


@dataclass(frozen=True)
class Both:
    """The two attacks of a pair."""

    a: AttackRun
    b: AttackRun

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return self.a.complete and self.b.complete

    def record(self) -> dict[str, Any]:
        """The records of both attacks."""
        return {"a": self.a.record(), "b": self.b.record()}

    def rows(self) -> list[dict[str, Any]]:
        """A row for each attack."""
        return [*self.a.rows(), *self.b.rows()]


def choose(ask: Ask) -> Pair | None:
    """Draws both attacks above the results; None where they or the sidebar's settings do not work.

    What the Attack page's link brought here is run at once.
    """
    common = shared()
    subject, aim = common.subject, common.aim
    if subject is None or aim is None:
        return None
    left, right = st.columns(2, gap="large")
    with left:
        a = pick_method(ATTACK_A, subject.card, FIRST_A, "Attack A", folded=True)
    with right:
        b = pick_method(ATTACK_B, subject.card, FIRST_B, "Attack B", folded=True)
    if a is None or b is None:
        return None
    pair = Pair(Scenario(subject, a, aim), Scenario(subject, b, aim))
    if was_offered(pair.a):
        run_at_once(NAME)
    return pair
