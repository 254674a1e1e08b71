"""The link that brings an attack to the Compare page."""

from __future__ import annotations

import streamlit as st

from lab.ui.parts.pickers import UNPREFIXED
from lab.ui.parts.scenario import Scenario
from lab.ui.shell.links import link_to

OFFERED = "_offered"
"""Where the session keeps the scenario that the link brings there."""


def offer(scenario: Scenario) -> None:
    """A link to the Compare page with a scenario's attack as A."""
    st.session_state[OFFERED] = scenario
    query = {name: value for name, value in scenario.link(UNPREFIXED).items() if value}
    link_to("pages/compare.py", "Compare with another attack", query, ":material/balance:")


def was_offered(scenario: Scenario) -> bool:
    """Whether a scenario has just been brought by the link; asking takes it off the offer."""
    return bool(st.session_state.pop(OFFERED, None) == scenario)
