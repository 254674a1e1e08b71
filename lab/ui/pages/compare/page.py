"""The parts of the Compare page: two attacks, A and B, on one picture and one model."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lab.figures import attack as figures
from lab.figures.pictures import amplify
from lab.ui.parts.pickers import OF_ATTACKS, pick_method
from lab.ui.parts.result import (
    Shown,
    attacked_tile,
    clean_tile,
    compute,
    measures,
    run_button,
    verdict,
)
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.shared import shared, tell_of_link
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import forget
from lab.ui.shell.links import link_to
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

FIRST = {"a": "fgsm", "b": "mi_fgsm"}
"""The attacks to begin with, by prefix: one step, and ten steps with momentum."""

OFFERED = "_offered"
"""Where the session keeps the key of the scenario that the Attack page's link brings here."""


@dataclass(frozen=True)
class Pair:
    """Two scenarios that differ in the attack only."""

    a: Scenario
    b: Scenario

    @property
    def key(self) -> Hashable:
        """What both results depend on."""
        return self.a.key, self.b.key


def offer(scenario: Scenario) -> None:
    """A link to this page with a scenario's attack as A."""
    st.session_state[OFFERED] = scenario.key
    query = {name: value for name, value in scenario.link(OF_ATTACKS[1]).items() if value}
    link_to("pages/compare.py", "Compare with another attack", query, ":material/balance:")


def choose() -> Pair | None:
    """Draws both attacks above the results; None where they or the sidebar's settings do not work."""
    common = shared()
    about, aim = common.about, common.aim
    if about is None or aim is None:
        return None
    hows = {}
    for letter, column in zip(FIRST, st.columns(len(FIRST), gap="large"), strict=True):
        with column:
            hows[letter] = pick_method(
                Ask(f"compare_{letter}"), about.card, FIRST[letter], f"Attack {letter.upper()}", folded=True
            )
    a, b = hows.values()
    if a is None or b is None:
        return None
    pair = Pair(Scenario(about, a, aim), Scenario(about, b, aim))
    tell_of_link({**pair.a.link(OF_ATTACKS[1]), **pair.b.link(OF_ATTACKS[2])})
    return pair


def settle(pair: Pair | None) -> Pair | None:
    """Draws the run button; returns the pair whose results are to be shown.

    What the Attack page's link brought here is run at once.
    """
    if pair is not None and pair.a.key == st.session_state.pop(OFFERED, None):
        st.session_state.pop("_applied_compare", None)
    return run_button(pair, "compare", "Run both attacks", _forget)


def _forget(pair: Pair) -> None:
    for scenario in (pair.a, pair.b):
        forget("attack", scenario.key)


def attacked(pair: Pair) -> tuple[Shown, Shown] | None:
    """The results of a pair, one after the other; None while one is at work, and then those before stay on the page."""
    a = compute(pair.a)
    b = None if a is None else compute(pair.b)
    if a is not None and b is not None:
        st.session_state["_shown_compare"] = a, b
        return a, b
    before: tuple[Shown, Shown] | None = st.session_state.get("_shown_compare")
    if before is not None:
        with st.container(key="previous"):
            st.caption("The previous result:")
            show(before)
    return None


def show(both: tuple[Shown, Shown]) -> None:
    """Two verdicts, the pictures on one scale, the numbers, and both courses on the same axes."""
    named = dict(zip("AB", both, strict=True))
    for (letter, shown), column in zip(named.items(), st.columns(2, gap="large"), strict=True):
        with column:
            verdict(shown, f"#### {letter}:")
    pictures(named)
    numbers(named)
    runs = {letter: (shown.scenario.spec.name, shown.run.result.frames) for letter, shown in named.items()}
    st.markdown("**The margin against the work done**")
    show_chart(
        figures.against_passes(runs),
        "passes",
        "Each line follows one attack: to the right what it has asked of the model so far (a forward pass is one "
        "query), downwards how near it is to its goal; below 0 the goal is reached. A backward pass, which only "
        "white-box attacks make, costs about twice as much and is not counted here.",
    )


def pictures(named: dict[str, Shown]) -> None:
    """The clean picture, and for each attack the attacked one above its perturbation, both amplified alike."""
    largest = max(shown.run.delta.abs().max().item() for shown in named.values())
    columns = [[clean_tile(named["A"])]]
    for letter, shown in named.items():
        x, factor = amplify(shown.run.delta[0], largest)
        change = Tile(f"Perturbation {letter}", x, f"amplified {figures.times(factor)}", "Gray means unchanged.")
        columns.append([attacked_tile(shown, f"Adversarial {letter}"), change])
    show_tiles(columns)


def numbers(named: dict[str, Shown]) -> None:
    """Distances, similarity and cost of both, row by row."""
    rows = []
    for letter, shown in named.items():
        told = {m.name: m.value for m in measures(shown.run)}
        reached = "reached" if shown.run.fooled else "not reached"
        rows.append({"attack": f"{letter}: {shown.scenario.spec.name}", "goal": reached, **told})
    st.dataframe(rows, hide_index=True, width="stretch", key="distances")
    st.caption(" ".join(f"{m.name}: {_plain(m.help)}" for m in measures(named["A"].run) if m.name != "L0"))


def _plain(text: str) -> str:
    return text[0].lower() + text[1:]


def _body() -> None:
    pair = settle(choose())
    if pair is None:
        st.info("Choose a picture and settings that work; the reason is written beside them.")
        return
    both = attacked(pair)
    if both is not None:
        with st.container(key="result"):
            show(both)


PAGE: Page[Any, Any] = Page(
    name="compare",
    title="Compare",
    icon=":material/balance:",
    about=prose("compare", "About"),
    shared=True,
    body=_body,
)
