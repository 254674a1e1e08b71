"""The tab with the maxima of one target, and the distribution fitted to them."""

from __future__ import annotations

import math

import streamlit as st

from lab.experiments.clever.estimate import Estimate
from lab.figures import clever as figures
from lab.figures.clever import written
from lab.ui.pages.clever.setup import NAME, Setup, pick_target
from lab.ui.parts.show import show_chart
from lab.ui.shell.prose import prose

FEWEST = 3
"""Batches that a distribution is fitted to, at least."""


def fit(setup: Setup, result: Estimate) -> None:
    """The histogram, the fitted density, and what the score is made of."""
    t, scores = pick_target(result, "fit_target"), result.clever
    shape, location, margin = (float(v[0, t]) for v in (scores.shape, scores.location, scores.margin))
    show_chart(figures.fit(scores, t), "fit")
    if (batches := scores.maxima.shape[2]) < FEWEST:
        st.caption(f"Nothing is fitted to {batches} batch{'' if batches == 1 else 'es'}.")
        return
    if not math.isfinite(shape):
        st.caption("All batches have the same maximum: the network is linear here, or flat, and nothing was fitted.")
        return
    division = f": {margin:.4g} / {location:.4g} = {written(margin / location, setup.norm)}" if location > 0 else ""
    if division and margin / location > setup.sampling.radius:
        division += f"; the score ends at the radius, {written(setup.sampling.radius, setup.norm)}"
    st.caption(
        prose(
            NAME,
            "The fit",
            endpoint=f"{location:.4g}",
            shape=f"{shape:.3g}",
            scale=f"{float(scores.scale[0, t]):.3g}",
            p=f"{float(scores.p_value[0, t]):.2g}",
            margin=f"{margin:.4g}",
            division=division if setup.sampling.order == 1 else "",
        )
    )
