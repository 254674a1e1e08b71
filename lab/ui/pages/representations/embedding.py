"""The tab with a few hundred images in the plane of largest variance, and the attack's way through them."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.experiments.representations.embedding import Embedding, embed
from lab.experiments.representations.representation import Representation
from lab.figures import representations as figures
from lab.progress import Progress
from lab.ui.pages.representations.setup import NAME, about_set, followed, pick_layer, sample_of
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

DOTS = 300
"""Pictures of an embedding, at most."""


def embedding(scenario: Scenario, result: Representation) -> None:
    """The plane of one stage's features."""
    layer = pick_layer(result, "plane_stage", maps=False)
    sample = sample_of(scenario.card) if layer else None
    along = followed(result) if sample else None
    if layer is None or sample is None or along is None:
        return

    def work(progress: Progress) -> Iterator[Embedding]:
        yield embed(sample.features[layer.name][:DOTS], along.path[layer.name])

    plane = answer("embedding", (result.run, layer.name), "Projecting the features", work)
    if plane is None:
        return
    labels = sample.labels[:DOTS].tolist()
    show_chart(figures.embedding(plane, labels, scenario.card.classes), "embedding", prose(NAME, "The plane"))
    st.caption(about_set(scenario.card, len(labels)))
