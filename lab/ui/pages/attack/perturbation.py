"""The tab with the perturbation channel by channel, and its spectrum."""

from __future__ import annotations

import streamlit as st

from lab.experiments.attack.run import AttackRun
from lab.experiments.attack.spectrum import spectrum
from lab.figures import attack as figures
from lab.ui.pages.attack.setup import NAME
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell.prose import prose


def perturbation(scenario: Scenario, run: AttackRun) -> None:
    """One map a channel, then the amplitudes of the frequencies."""
    if not run.size:
        st.info("The picture did not move, so there is no perturbation to show.")
        return
    bound = run.request.params.get("eps") if run.norm == "linf" else None
    limit = float(bound or run.delta.abs().max().item())
    how = prose(NAME, "The channels", limit=f"{limit * 255:.3g}/255")
    show_chart(figures.channels(run.delta[0], limit or 1 / 255), "channels", how)
    st.markdown("**Spectrum**")
    show_chart(figures.spectrum(spectrum(run.delta[0])), "spectrum", prose(NAME, "The spectrum"))
