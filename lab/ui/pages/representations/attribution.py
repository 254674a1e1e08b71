"""The tab with the pixels that speak for the class, clean and attacked, on the same scale."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st
from torch import Tensor

from lab.experiments.representations.attribution import attributions
from lab.experiments.representations.representation import Representation
from lab.figures import representations as figures
from lab.progress import Progress
from lab.ui.pages.representations.setup import NAME
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose


def attribution(scenario: Scenario, result: Representation) -> None:
    """The maps of every method that the network allows."""
    run = result.run

    def work(progress: Progress) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        model = cache.model(run.request.model, progress.part(0.0, 0.1))
        yield attributions(model, run, progress=progress.part(0.1, 1.0))

    maps = answer("attributions", run, "Attributing", work)
    if maps is None:
        return
    st.markdown(
        f"For the clean picture: what speaks for **{run.clean_name}**; for the attacked one: what speaks for "
        f"**{run.attacked_name}**."
    )
    show_chart(figures.attributions(maps), "attribution", prose(NAME, "The attribution"))
