"""The tab with the attacks that ask the black box itself for every image, beside the copy, which was paid once."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab import attacks
from lab.experiments.blackbox.curves import (
    QUERY_ATTACKS,
    SUBSTITUTE,
    Extraction,
    QueryCurve,
    copy_curve,
    query_curve,
)
from lab.experiments.blackbox.oracle import labels_of
from lab.figures import blackbox as figures
from lab.progress import Progress
from lab.ui.pages.blackbox.copying import compute
from lab.ui.pages.blackbox.setup import NAME, Setup
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose
from lab.ui.shell.words import attack_label

Curves = tuple[QueryCurve, ...]
"""The curve of the copy, then those of the attacks."""


def queries(setup: Setup, result: Extraction) -> None:
    """Success against queries: the copy, and the attacks that are chosen."""
    if setup.remote:
        st.info("The query attacks are run on the lab's own models only: they would spend the endpoint's budget.")
        return
    ask = Ask(NAME)
    left, right = st.columns([3, 1])
    with left:
        chosen = ask.several(
            "queries",
            "Attacks that ask the oracle itself",
            list(QUERY_ATTACKS),
            QUERY_ATTACKS,
            format_func=lambda key: attack_label(attacks.CATALOG[key]),
        )
    with right:
        count = ask.whole("images", "Images", 2, 100, 20)
    if not chosen:
        return

    def work(progress: Progress) -> Iterator[Curves]:
        rounds = result.rounds
        if rounds[0].round.kept is None:  # what came with the lab has no copies
            *_, whole = compute(setup, progress.part(0.0, 0.3))
            rounds, progress = whole.rounds, progress.part(0.3, 1.0)
        model, (_, test) = cache.model(setup.oracle), setup.images()
        rows = (labels_of(model)(test.x) == test.y).nonzero().flatten()[:count]
        x, y = test.x[rows], test.y[rows]
        curves: Curves = (copy_curve(rounds, labels_of(model), x, y, setup.eps),)
        for k, key in enumerate(chosen):
            part = progress.part(k / len(chosen), (k + 1) / len(chosen))
            curve = query_curve(key, model, x, y, setup.eps, seed=setup.seed, progress=part)
            curves = (*curves, curve.together)
            yield curves

    key = (setup, len(result.rounds), chosen, count)
    curves = answer("queries", key, "Asking the oracle", work, _draw, own=setup.is_own)
    if curves:
        _draw(curves)


def _draw(curves: Curves) -> None:
    names = {SUBSTITUTE: "the copy, FGSM"} | {key: attacks.CATALOG[key].name for key in QUERY_ATTACKS}
    show_chart(figures.queries(curves, names), "query_curves", prose(NAME, "Against query attacks", n=curves[0].n))
