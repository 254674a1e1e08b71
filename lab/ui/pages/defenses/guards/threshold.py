"""The tab with a detector's scores, its threshold, and every other threshold that there might have been."""

from __future__ import annotations

import streamlit as st

from lab.experiments.defenses.attackers import Defended
from lab.figures import defenses as figures
from lab.ui.pages.defenses.guards.setup import NAME, Setup
from lab.ui.parts.show import show_chart
from lab.ui.shell.prose import prose

UNITS = {"squeezing": "L1 distance of the answers", "reconstruction": "L2 distance of the drawing"}
"""What a detector's score is."""


def threshold(setup: Setup, result: Defended) -> None:
    """The scores of clean and of fooling images, and the ROC curve."""
    guard = result.detection
    if guard is None:
        return
    about = prose(
        NAME,
        "The threshold",
        rate=f"{guard.rate:.0%}",
        calibrated=f"{len(guard.calibration):,}",
        held=f"{len(guard.held):,}",
        false=f"{guard.false:.1%}",
    )
    show_chart(figures.suspicion(guard, UNITS[setup.defense]), "suspicion", about)
    curves = {
        f"{figures.ATTACKERS[attacker]} attacker": curve
        for attacker in ("oblivious", "adaptive")
        if result.trial(attacker) is not None and (curve := guard.curve(attacker)) is not None
    }
    if not curves:
        st.info("No attacked image fools the model, so there is nothing to detect.")
        return
    show_chart(figures.characteristic(curves, guard.false), "characteristic", prose(NAME, "The ROC curve"))
