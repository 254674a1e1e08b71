"""The tab with the player over the trajectory."""

from __future__ import annotations

import streamlit as st

from lab.experiments.attack.run import AttackRun
from lab.figures.film import film
from lab.ui.pages.attack.setup import NAME
from lab.ui.parts.moment import choose_moment, moment_of
from lab.ui.parts.player import show_player
from lab.ui.parts.result import kind
from lab.ui.parts.scenario import Scenario
from lab.ui.shell.prose import prose


def iterations(scenario: Scenario, run: AttackRun) -> None:
    """The player, and how it is used."""
    attack = kind(run)
    kept = st.session_state.get("_film")  # its pictures take long to compress, so only once
    if kept is None or kept[0] is not run:
        kept = run, film(run.result.frames, run.clean[0], 0, run.classes, attack)
        st.session_state["_film"] = kept
    stops = [stop["step"] for stop in kept[1]["stops"]]
    now = moment_of(run)
    start = stops.index(now) if now in stops else kept[1]["start"]
    show_player(kept[1], "player", start, lambda stop: choose_moment(run, stops[stop]))
    closest = attack.closest and run.success
    targeted = "the largest other minus the goal's"
    rival = targeted if attack.targeted else "that of the class seen at first minus the largest other"
    st.caption(
        prose(NAME, "The player", rival=rival)
        + (" The attack itself does not see it: it is told only the label." if attack.by_labels else "")
        + (" The result above is the closest of all iterations that reached the goal." if closest else "")
    )
