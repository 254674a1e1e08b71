"""The tab with the score of one target from the first so many batches."""

from __future__ import annotations

from lab.experiments.clever.distances import nearest
from lab.experiments.clever.estimate import Estimate
from lab.figures import clever as figures
from lab.ui.pages.clever.setup import NAME, Setup, pick_target
from lab.ui.parts.show import show_chart
from lab.ui.shell.prose import prose

COUNTS = (5, 10, 15, 20, 30, 40, 60, 100, 150, 200, 300, 500, 1000)
"""Batches after which the score is drawn."""


def convergence(setup: Setup, result: Estimate) -> None:
    """The line, and the smallest distance that an attack found."""
    t, most = pick_target(result, "convergence_target"), result.clever.maxima.shape[2]
    counts = [c for c in COUNTS if c < most] + [most]
    best = nearest(result.attacks)
    figure = figures.convergence(
        counts, [result.clever.after(0, t, c) for c in counts], setup.norm, None if best is None else best.distance
    )
    show_chart(figure, "convergence", prose(NAME, "Convergence"))
