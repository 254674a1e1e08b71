"""The Attack page: one attack on one picture, from every side."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lab.experiments.attack.request import python
from lab.experiments.attack.run import AttackRun
from lab.figures import attack as figures
from lab.figures.pictures import amplify
from lab.images import encode
from lab.ui.pages.attack.decision_plane import decision_plane
from lab.ui.pages.attack.epsilon import epsilon
from lab.ui.pages.attack.iterations import iterations
from lab.ui.pages.attack.perturbation import perturbation
from lab.ui.pages.attack.saved import saved
from lab.ui.pages.attack.setup import NAME, choose
from lab.ui.parts.compare_link import offer
from lab.ui.parts.describe import describe_attack, describe_model
from lab.ui.parts.result import at_work, attacked_tile, clean_tile, compute, doing, measures, verdict
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import Tile
from lab.ui.parts.viewer import show_pictures
from lab.ui.shell.downloads import Offer
from lab.ui.shell.page import HOW, TAKE_AWAY, Page
from lab.ui.shell.prose import prose


def show(scenario: Scenario, run: AttackRun) -> None:
    """What happened; clean, perturbation and attacked side by side; the numbers; the most probable classes of both."""
    verdict(scenario, run)
    magnified, factor = amplify(run.delta[0])
    amplified = f"amplified {figures.times(factor)}" if run.size else "none"
    perturbation = Tile("Perturbation", magnified, amplified, "Grey means unchanged.")
    show_pictures([clean_tile(scenario, run), attacked_tile(run), perturbation], "pictures", pair=True)
    row = st.container(horizontal=True, gap="medium", key="measures")
    for measure in measures(run):
        row.container(width=120).metric(measure.name, measure.value, help=measure.help)
    with st.container(key="compare"):
        offer(scenario)
    figure = figures.top_classes(run.clean_probabilities, run.attacked_probabilities, run.classes, run.request.target)
    show_chart(figure, "top5", alt=f"Most probable classes: clean {run.clean_name}, attacked {run.attacked_name}")


def take_away(scenario: Scenario, run: AttackRun) -> None:
    """What every page offers, and a look at the record."""
    PAGE.take_away(scenario, run)
    with st.expander("The manifest"):
        st.json(run.record())


def how_it_works(scenario: Scenario, run: AttackRun) -> None:
    """The formula, the papers, where the code is, this run's parameters, and the model."""
    describe_attack(run.spec, run.norm)
    values = ", ".join(f"{name} = {_printed(value)}" for name, value in run.request.params.items())
    st.caption(f"Parameters of this run: {values}")
    st.divider()
    describe_model(scenario.card)


def _printed(value: object) -> str:
    return "automatic" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def files(scenario: Scenario, run: AttackRun) -> Sequence[Offer]:
    """The attacked picture, and all pictures as arrays."""
    x = run.attacked[0]
    return (
        Offer("PNG, 8-bit", "png", "image/png", lambda: encode(x)),
        Offer("JPEG, quality 75", "jpg", "image/jpeg", lambda: encode(x, "JPEG", quality=75)),
        Offer("Arrays (.npz)", "npz", "application/octet-stream", run.arrays),
    )


PAGE: Page[Scenario, AttackRun] = Page(
    name=NAME,
    title="Attack",
    icon=":material/bolt:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    tabs={
        "Iterations": iterations,
        "Epsilon": epsilon,
        "Perturbation": perturbation,
        "Decision plane": decision_plane,
        "Saved as a file": saved,
        TAKE_AWAY: take_away,
        HOW: how_it_works,
    },
    files=files,
    script=lambda scenario, run: python(run.request),
    stem=lambda scenario: f"{scenario.method.attack}_{scenario.subject.image}",
    own_picture=lambda scenario: scenario.subject.is_own,
    doing=doing,
    watch=at_work,
    button="Run the attack",
    shared=True,
    attacks=True,
    keeps=True,
)
