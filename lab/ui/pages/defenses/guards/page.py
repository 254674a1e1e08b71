"""The view of defenses that change or reject images: what they are worth to attackers who know them or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import plotly.graph_objects as go
import streamlit as st

from lab.data import load_data
from lab.data.catalog import of_task
from lab.defenses.catalog import CATALOG, DETECTORS, detector
from lab.experiments.defenses.attackers import Defended, detected, distilled, transformed
from lab.figures import defenses as figures
from lab.progress import Progress
from lab.ui.pages.defenses.guards.believed import believed
from lab.ui.pages.defenses.guards.pictures import one_image
from lab.ui.pages.defenses.guards.setup import DISTILLATION, NAME, Setup, choose, spec_of
from lab.ui.pages.defenses.guards.table import table
from lab.ui.pages.defenses.guards.threshold import threshold
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

CLEAN = slice(1000, 3000)
"""Images for a detector's threshold, as many of them as there are; none of them is attacked."""


def compute(setup: Setup, progress: Progress) -> Iterator[Defended]:
    """The defense under its attackers, after each of them."""
    dataset, attackers, params = of_task(setup.task).key, setup.attackers, dict(setup.params)
    test = load_data(dataset, card=setup.card)
    data, y = test.rows(slice(0, setup.count)), test.y[: setup.count]
    model = cache.model(setup.model, progress)
    result = Defended((), y, tuple(data.ids), dataset, setup.defense, setup.params, setup.model, attackers)
    progress.tell(0.0, "looking at the clean images")
    if setup.defense in DETECTORS:
        guard, clean = detector(setup.defense, **params), test.rows(CLEAN).x
        for found in detected(guard, model, clean, data.x, y, attackers, rate=setup.rate, progress=progress):
            yield replace(result, trials=found.trials, detection=found)
        return
    if setup.defense == DISTILLATION:
        student = cache.model(f"{setup.task}/cnn_distilled")
        heat = float(student.card.details["rule"]["temperature"])
        runs = distilled(model, student, data.x, y, attackers, temperature=heat, progress=progress)
    else:
        runs = transformed(setup.defense, model, data.x, y, attackers, progress=progress, **params)
    for trials in runs:
        yield replace(result, trials=trials)


def show(setup: Setup, result: Defended) -> None:
    """The verdict, what every attacker leaves, and one image."""
    st.markdown(f"### {sentence(setup, result)}")
    show_chart(
        _chart(result),
        "worth",
        prose(
            NAME,
            "The chart of shares" if result.detection else "The chart of accuracies",
            n=len(result.y),
            attackers="; ".join(
                f"**{figures.ATTACKERS[t.attacker]}**: {t.description}" for t in result.trials if t.attacker != "none"
            ),
        ),
    )
    one_image(setup, result)


def live(setup: Setup, result: Defended) -> None:
    """What the attackers so far leave."""
    show_chart(_chart(result, more=True), "worth_live")


def _chart(result: Defended, more: bool = False) -> go.Figure:
    draw = figures.worth if result.detection is None else figures.shares
    return draw(result.trials, result.y, more)


def sentence(setup: Setup, result: Defended) -> str:
    """What the defense is worth to those who do not know it, and to those who do."""
    if not result.complete:
        return f"{setup.name}: stopped before all attackers had their turn."
    y, trials = result.y, {t.attacker: t for t in result.trials}
    if result.detection is not None:
        caught = result.detection.detected("oblivious")
        rejects = "has nothing to reject" if caught is None else f"rejects **{caught:.0%}** of them"
        past = 1 - trials["adaptive"].accuracy(y)
        return (
            f"{setup.method} fools the model on {1 - trials['oblivious'].undefended(y):.0%} of the images; "
            f"{setup.inline} {rejects}. An attacker who knows it gets **{past:.0%}** of all images past it. "
            f"The price: {result.detection.false:.1%} of {len(result.detection.held)} other clean images are rejected."
        )
    before, after = trials["none"].undefended(y), trials["none"].accuracy(y)
    lowers = f"lowers the accuracy on clean images from {before:.1%} to {after:.1%}"
    price = lowers if before - after > 0.004 else "costs nothing on clean images"
    naive = f", **{trials['naive'].accuracy(y):.0%}** when they simply follow its gradient" if "naive" in trials else ""
    return (
        f"With {setup.inline}, the model classifies **{trials['oblivious'].accuracy(y):.0%}** of the images correctly "
        f"under {setup.method} when attackers do not know of the defense{naive}, but "
        f"**{trials['any'].accuracy(y):.0%}** under the best attack on each image; without it, "
        f"{trials['oblivious'].undefended(y):.0%}. The defense {price}."
    )


def tabs(setup: Setup, result: Defended) -> Mapping[str, Callable[[Setup, Defended], None]]:
    """What else there is to see of this kind of defense."""
    chosen: dict[str, Callable[[Setup, Defended], None]] = {}
    if result.detection is not None:
        chosen["ROC and threshold"] = threshold
    chosen["Image by image"] = table
    if setup.defense in CATALOG:
        chosen["Can it be believed?"] = believed
    return chosen


def how(setup: Setup, result: Defended) -> Mapping[str, object]:
    """How this kind of defense works."""
    if setup.defense in CATALOG:
        return {"defense": prose(NAME, "Transformations", summary=spec_of(setup.defense).summary)}
    return {"defense": prose(NAME, setup.name)}


PAGE: Page[Setup, Defended] = Page(
    name=NAME,
    title="Transform or detect",
    icon=":material/filter_alt:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    live=live,
    tabs=tabs,
    how=how,
    doing=lambda setup: f"Attacking {setup.card.name}",
    button="Attack it",
    stem=lambda setup: "defense",
)
