"""The tab with the distance of the drawing as a detector, under attackers who do not know it and one who does."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.experiments.capsules.drawing import ATTACKS, Drawing, attempts
from lab.experiments.capsules.look import Look
from lab.figures import capsules as figures
from lab.figures.attack import scaled
from lab.progress import Progress
from lab.ui.pages.capsules.setup import FIRST, NAME, Setup
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import files_of, offer_files
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

SLOW = 20
"""Images on which the detector is tried against Carlini-Wagner, at most."""


def detector(setup: Setup, result: Look) -> None:
    """How many attacked images the drawing gives away."""
    counts = {key: min(setup.count, SLOW) if key == "cw" else setup.count for key in ATTACKS}
    plan = [(setup.attackers(key), setup.images(0, count)) for key, count in counts.items()]
    params = tuple((attackers.attack, tuple(attackers.params.items())) for attackers, _ in plan)

    def work(progress: Progress) -> Iterator[Drawing]:
        model = cache.model(setup.models[0], progress.part(0.0, 0.05))
        clean = setup.images(FIRST, 2 * FIRST).x
        for tried in attempts(model, clean, plan, rate=setup.rate, progress=progress.part(0.05, 1.0)):
            yield Drawing(tried, setup.models[0], setup.dataset, params, setup.seed)

    def live(so_far: Drawing) -> None:
        _table(setup, so_far)

    key = (setup.task, setup.eps, setup.steps, setup.count, setup.rate, setup.seed)
    drawing = answer("detector", key, "Attacking what the detector is to flag", work, live)
    if drawing is not None:
        _table(setup, drawing)
        _charts(setup, drawing)
        offer_files("capsules_detector", Ask(NAME).key("detector"), files_of(drawing))


def _table(setup: Setup, drawing: Drawing) -> None:
    """What was caught, attack by attack."""
    st.markdown(f"#### {caught(drawing)}")
    shares = ("fools", "detected of those", "wrong and undetected")
    rows = [
        {name: round(value, 2) if name in shares and value is not None else value for name, value in row.items()}
        for row in drawing.rows()
    ]
    columns = dict.fromkeys(shares, st.column_config.NumberColumn(format="percent"))
    columns["area under ROC"] = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(rows, hide_index=True, width="stretch", key="detections", column_config=columns)
    detection = drawing.detection
    st.caption(
        prose(
            NAME,
            "The detector",
            limit=f"{detection.limit:.2f}",
            rate=f"{setup.rate:.0%}",
            calibration=len(detection.calibration),
            held=len(detection.held),
            false=f"{detection.false:.1%}",
            size=scaled(setup.eps, "linf"),
        )
    )


def _charts(setup: Setup, drawing: Drawing) -> None:
    """The distances under one attack, and the ROC curves of all."""
    curves = {tried.name: tried.curve for tried in drawing.tried if tried.curve is not None}
    if not curves:
        return
    left, right = st.columns(2)
    with left:
        chosen = Ask(NAME).select("histogram", "Attack in the histogram", list(curves), next(iter(curves)))
        scores = next(tried.scores for tried in drawing.tried if tried.name == chosen)
        if scores is not None:
            detection = drawing.detection
            show_chart(figures.errors(detection.held, scores, detection.limit), "errors", prose(NAME, "The histogram"))
    with right:
        st.markdown("**Whatever the threshold**")
        show_chart(figures.rocs(curves, setup.rate), "rocs", prose(NAME, "The ROC curves"))


def caught(drawing: Drawing) -> str:
    """How many the drawing gives away, and how many pass once the attacker knows it."""
    shares = [
        f"**{tried.detected:.0%}** of {tried.name}"
        for tried in drawing.tried
        if tried.attacker == "oblivious" and tried.detected is not None
    ]
    verdict = f"Of the images that fool the network, its drawing gives away {', '.join(shares)}." if shares else ""
    knowing = next((tried for tried in drawing.tried if tried.attacker == "adaptive"), None)
    if knowing is not None:
        passed = f"**{knowing.undetected:.0%}** of all images"
        verdict += f" An attacker who knows the detector gets {passed} past network and detector."
    if verdict:
        return verdict
    return "No image fools the network." if drawing.complete else "No attack has been tried to its end yet."
