"""The tab with the classes on a plane through the picture."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.experiments.attack.plane import Plane, plane
from lab.experiments.attack.run import AttackRun
from lab.figures import attack as figures
from lab.progress import Progress
from lab.ui.pages.attack.setup import NAME, UNMOVED
from lab.ui.parts.result import size
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose


def decision_plane(scenario: Scenario, run: AttackRun) -> None:
    """Classes over (attack direction x random direction)."""
    if not run.size:
        st.info(UNMOVED)
        return

    def work(progress: Progress) -> Iterator[Plane]:
        model = cache.model(run.request.model, progress.part(0.0, 0.1))
        seed = run.request.seed
        yield plane(model, run.clean, run.delta, run.line_norm, seed=seed, progress=progress.part(0.1, 1.0))

    classes = answer("plane", run, "Asking the model for the classes of the plane", work)
    if classes is not None:
        show_chart(figures.plane(classes, run.classes, size(run)), "plane", prose(NAME, "The plane"))
