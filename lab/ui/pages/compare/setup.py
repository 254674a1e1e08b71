"""What the Compare page asks, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from lab.experiments.attack.run import AttackRun
from lab.models.catalog import find_model, is_here
from lab.ui.parts.compare_link import was_offered
from lab.ui.parts.forms import LABELS
from lab.ui.parts.pickers import ATTACK_B, pick_method
from lab.ui.parts.scenario import Scenario, Subject
from lab.ui.parts.shared import pick_scenario
from lab.ui.shell import trained
from lab.ui.shell.ask import Ask, model_name
from lab.ui.shell.page import run_at_once
from lab.ui.shell.words import listed

NAME = "compare"
FIRST_B = "fgsm"
"""The other attack to begin with: one step, against ten with momentum."""
SAME = "the same"
"""How the other model is chosen that is none."""


@dataclass(frozen=True)
class Pair:
    """Two scenarios with the same picture, goal and seed."""

    a: Scenario
    b: Scenario

    @property
    def differ(self) -> str:
        """In what they differ, for a person."""
        a, b = self.a, self.b
        values = [name for name in a.method.params if a.method.params[name] != b.method.params.get(name)]
        parts = [
            *(["the model"] if a.subject.model != b.subject.model else []),
            *(["the attack"] if a.method.attack != b.method.attack else []),
            *([", ".join(LABELS.get(v, v).lower() for v in values)] if a.method.attack == b.method.attack else []),
        ]
        parts = [part for part in parts if part]
        return f"They differ in {listed(parts)}." if parts else "They are the same."


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
    """Draws the attack that all pages look at, A, in the sidebar, and what it is compared with, B, above the results.

    What the Attack page's link brought here is run at once.
    """
    a = pick_scenario()
    if a is None:
        return None
    left, right = st.columns(2, gap="large")
    with left:
        subject = _other_model(ask, a.subject)
    with right:
        b = pick_method(ATTACK_B, subject.card, FIRST_B, "Attack B", folded=True)
    if b is None:
        return None
    pair = Pair(a, Scenario(subject, b, a.aim))
    st.caption(f"A is the attack in the sidebar, B the one above. {pair.differ}")
    if was_offered(pair.a):
        run_at_once(NAME)
    return pair


def _other_model(ask: Ask, subject: Subject) -> Subject:
    """Draws the choice of the model of B; the same picture, as that model sees it."""
    task = subject.card.task
    others = [key for key in trained.keys(task) if key != subject.model and is_here(key)]
    chosen = ask.chosen_model(
        f"b_model_{task}",
        "Model B",
        [SAME, *others],
        SAME,
        format_func=lambda key: f"{SAME}: {subject.card.name}" if key == SAME else model_name(key),
        help="The same picture is attacked on this model, too.",
    )
    return subject if chosen == SAME else subject.on(find_model(chosen).card())
