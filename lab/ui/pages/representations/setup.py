"""What the Representations page asks, and what several of its tabs need."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.data.catalog import of_task
from lab.data.photographs import CROPS, with_label
from lab.experiments.representations import follow
from lab.experiments.representations.activations import Layer
from lab.experiments.representations.follow import Followed
from lab.experiments.representations.representation import Representation
from lab.experiments.representations.sample import Sample, sample
from lab.models.cards import Card
from lab.progress import Progress
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.shared import pick_scenario
from lab.ui.parts.tiles import thumbnail
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

NAME = "representations"


def choose(ask: Ask) -> Scenario | None:
    """Draws the settings."""
    return pick_scenario()


def pick_layer(result: Representation, name: str, *, maps: bool) -> Layer | None:
    """Draws the choice of a stage; None where the network has none of the kind.

    Args:
        result: whose network's stages are offered.
        name: of the widget.
        maps: whether only stages that answer maps are offered.
    """
    layers = result.depth.layers
    offered = [layer for layer in layers if layer.is_map and min(layer.shape[1:]) > 1] if maps else list(layers)
    if not offered:
        st.info("This network has no stage with feature maps: it sees the picture as one long vector.")
        return None
    by_name = {layer.name: layer for layer in offered}
    names = list(by_name)
    whole = [k for k, layer in enumerate(offered[:-1]) if not layer.kind.startswith("Dropout")]  # drops nothing here
    start = len(names) // 2 if maps else max(whole, default=0)
    return by_name[Ask(NAME).select(name, "Stage", names, names[start], format_func=lambda n: by_name[n].label)]


def followed(result: Representation) -> Followed | None:
    """The features along the attack; None while they are computed."""

    def work(progress: Progress) -> Iterator[Followed]:
        model = cache.model(result.run.request.model, progress.part(0.0, 0.1))
        yield follow.follow(model, result.run, progress=progress.part(0.1, 1.0))

    return answer("along", result.run, "Following the features along the attack", work)


def sample_of(card: Card) -> Sample | None:
    """The set that the network is shown, with its features; computed once for a model, None until then."""

    def work(progress: Progress) -> Iterator[Sample]:
        model = cache.model(card.key, progress.part(0.0, 0.1))
        yield sample(model, card, thumbnail, progress=progress.part(0.1, 1.0))

    return answer("sample", card.key, "Showing the network a set of pictures", work)


def about_set(card: Card, count: int) -> str:
    """What the pictures of the set are."""
    if card.task == "imagenet":
        return prose(NAME, "The crops", crops=CROPS, photographs=len(with_label()))
    return f"The pictures: {count:,} of {of_task(card.task).name}."
