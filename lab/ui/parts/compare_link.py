"""The link that brings an attack to the Compare page."""

from __future__ import annotations

import streamlit as st

from lab.ui.parts.scenario import Scenario
from lab.ui.shell.links import link_to

OFFERED = "_offered"
"""Where the session keeps the scenario that the link brings there."""


def offer(scenario: Scenario) -> None:
    """A link to the Compare page, where the attack of all pages is A."""
    st.session_state[OFFERED] = scenario
    link_to("pages/compare.py", "Compare with another attack", ":material/balance:")


def was_offered(scenario: Scenario) -> bool:
    """Whether a scenario has just been brought by the link; asking takes it off the offer."""
    return bool(st.session_state.pop(OFFERED, None) == scenario)
