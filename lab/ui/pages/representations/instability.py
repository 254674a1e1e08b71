"""The tab with how much each layer can stretch a change at most, beside what the attack really gets."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.experiments.representations import lipschitz
from lab.experiments.representations.lipschitz import Instability, bound
from lab.experiments.representations.representation import Representation
from lab.figures import representations as figures
from lab.progress import Progress
from lab.ui.pages.representations.setup import NAME
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def instability(scenario: Scenario, result: Representation) -> None:
    """The product of the norms, and the norm of each layer."""
    run = result.run

    def work(progress: Progress) -> Iterator[Instability]:
        model = cache.model(run.request.model, progress.part(0.0, 0.1))
        yield lipschitz.instability(model, run.clean, run.attacked, progress=progress.part(0.1, 1.0))

    stretched = answer("norms", run, "Iterating through every layer", work)
    if stretched is None:
        return
    norms = stretched.norms
    if not norms:
        st.info("This network has no linear or convolutional layers.")
        return
    product, measured = rounded(bound(norms)), rounded(stretched.measured)
    st.markdown(prose(NAME, "The bound", norms=len(norms), bound=product, measured=measured))
    show_chart(figures.stretches(norms), "norms", prose(NAME, "The norms"))


def rounded(value: float) -> str:
    """Three digits, and no power of ten below a million."""
    if value < 1e6:
        return f"{float(f'{value:.3g}'):,.10g}"
    digits, power = f"{value:.2e}".split("e+")
    return f"{digits} × 10{power.translate(DIGITS)}"
