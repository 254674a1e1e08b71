"""What the pages that attack have in common: model, picture, goal and seed, kept in the link and from page to page."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab.models.cards import Card
from lab.ui.parts.pickers import DEFAULT_ATTACK, UNPREFIXED, pick_method, pick_model, pick_subject
from lab.ui.parts.preview import preview
from lab.ui.parts.scenario import ANY_CLASS, Aim, Method, Scenario, Subject
from lab.ui.shell.say import attempt

SCENARIO = "_scenario"
"""Where the session keeps the attack that was looked at last."""


@dataclass(frozen=True)
class Shared:
    """What all pages that attack have in common, and the place between picture and goal for what they have not.

    `subject`, `method` and `aim` are None where they cannot be used; the reason is then on the page. `picture` is the
    place for the preview, which waits until all else is drawn, as the model may have to be loaded for it.
    """

    subject: Subject | None
    method: Method | None
    aim: Aim | None
    place: DeltaGenerator
    picture: DeltaGenerator


def draw_shared(attacks: bool) -> None:
    """Draws model, picture, goal and seed in the sidebar, before a page takes them with `shared`.

    For app.py: what is drawn there keeps its value and its part of the link when the page changes, which widgets of the
    same name on two pages do not.

    Args:
        attacks: whether the attack is drawn, too, for a page that looks at one.
    """
    st.session_state["_shared"] = _draw_shared(attacks)


def draw_preview() -> None:
    """Draws the picture as the model sees it, and its classes, below the choice of the picture; after the page."""
    drawn: Shared | None = st.session_state.pop("_drawn", None)
    if drawn is not None and drawn.subject is not None:
        with drawn.picture:
            preview(drawn.subject)


def shared(attacks: bool = False) -> Shared:
    """What app.py has drawn in this run; drawn here where the page runs alone. Arguments as of `draw_shared`."""
    drawn: Shared | None = st.session_state.pop("_shared", None)
    st.session_state["_drawn"] = drawn = drawn or _draw_shared(attacks)
    return drawn


def _draw_shared(attacks: bool) -> Shared:
    with st.sidebar:
        subject = attempt(_pick_subject)
        picture, place = st.container(key="preview"), st.container()
        method = pick_method(UNPREFIXED, subject.card, DEFAULT_ATTACK) if subject is not None and attacks else None
        aim = None if subject is None else _pick_aim(subject.card)
    return Shared(subject, method, aim, place, picture)


def pick_scenario() -> Scenario | None:
    """Draws the attack, one for all pages that look at one; its scenario, or None after saying why there is none."""
    common = shared(attacks=True)
    if common.subject is None or common.method is None or common.aim is None:
        return None
    scenario = Scenario(common.subject, common.method, common.aim)
    st.session_state[SCENARIO] = scenario
    return scenario


def last_scenario(subject: Subject) -> Scenario | None:
    """The attack that a page before looked at, where it is on this subject."""
    scenario: Scenario | None = st.session_state.get(SCENARIO)
    return scenario if scenario is not None and scenario.subject == subject else None


def _pick_subject() -> Subject:
    """Draws model and picture.

    Raises:
        LabError: where there is no such picture.
    """
    return pick_subject(pick_model())


def _pick_aim(card: Card) -> Aim:
    """Draws the goal and the seed."""
    names = [ANY_CLASS, *card.classes]
    chosen = UNPREFIXED.select(
        "target",
        "Goal: the model should see",
        names,
        ANY_CLASS,
        help="Any class other than the one it sees now, or one that you choose.",
    )
    seed = UNPREFIXED.seed("The same seed gives the same random numbers, and so the same result.")
    return Aim(None if chosen == ANY_CLASS else names.index(chosen) - 1, seed)
