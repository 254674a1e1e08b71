"""The Representations page: what a network computes on its way, for the clean and the attacked picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import streamlit as st

from lab.experiments.representations.activations import Depth, depth
from lab.experiments.representations.representation import Representation
from lab.progress import Progress
from lab.ui.pages.representations.attribution import attribution
from lab.ui.pages.representations.directions import directions
from lab.ui.pages.representations.embedding import embedding
from lab.ui.pages.representations.feature_maps import feature_maps
from lab.ui.pages.representations.instability import instability
from lab.ui.pages.representations.profile import profile
from lab.ui.pages.representations.setup import NAME, choose
from lab.ui.parts.result import attack_of, attacked_tile, clean_tile, forget_attack, verdict
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.viewer import show_pictures
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import Offer
from lab.ui.shell.jobs import answer
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

HEAD = 288
"""The largest width in pixels of the two pictures above the tabs."""


def gather(scenario: Scenario) -> Representation | None:
    """The attack and the depth profile; None while either is at work."""
    run = attack_of(scenario)
    if run is None:
        return None

    def work(progress: Progress) -> Iterator[Depth]:
        model = cache.model(run.request.model, progress)
        yield depth(model, run.clean, run.attacked, seed=run.request.seed)

    profile = answer("depth", run, "Comparing the features of every stage", work)
    return None if profile is None else Representation(run, profile)


def show(scenario: Scenario, result: Representation) -> None:
    """What the attack did, and both pictures."""
    verdict(scenario, result.run)
    show_pictures([clean_tile(scenario, result.run), attacked_tile(result.run)], "pictures", pair=True, widest=HEAD)


def files(scenario: Scenario, result: Representation) -> Sequence[Offer]:
    """The pictures, and what the network makes of them, as arrays."""

    def features() -> bytes:
        stage = st.session_state.get(Ask(NAME).key("map_stage"))
        return result.arrays(cache.model(result.run.request.model), None if stage is None else str(stage))

    return (
        Offer("Pictures (.npz)", "npz", "application/octet-stream", result.run.arrays),
        Offer("Features (.npz)", "features.npz", "application/octet-stream", features),
    )


PAGE: Page[Scenario, Representation] = Page(
    name=NAME,
    title="Representations",
    icon=":material/layers:",
    about=prose(NAME, "About"),
    choose=choose,
    gather=gather,
    parts=lambda result: (result.run, result.depth),
    drop=forget_attack,
    show=show,
    tabs={
        "Depth profile": profile,
        "Feature maps": feature_maps,
        "Units and directions": directions,
        "Attribution": attribution,
        "Instability": instability,
        "Embedding": embedding,
    },
    files=files,
    script=lambda scenario, result: result.python(),
    stem=lambda scenario: f"{NAME}_{scenario.subject.image}",
    own_picture=lambda scenario: scenario.subject.is_own,
    button="Run the attack",
    shared=True,
    attacks=True,
)
