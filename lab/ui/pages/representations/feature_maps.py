"""The tab with the maps of one stage that change the most, and one of them enlarged and followed."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st
import torch
from torch import Tensor

from lab.experiments.representations.activations import activations
from lab.experiments.representations.follow import STEPS
from lab.experiments.representations.representation import Representation
from lab.figures import representations as figures
from lab.progress import Progress
from lab.types import TINY
from lab.ui.pages.representations.setup import NAME, followed, pick_layer
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart, show_image
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

SHEET = 32
"""Feature maps on a sheet."""


def feature_maps(scenario: Scenario, result: Representation) -> None:
    """Clean, attacked and difference of the maps; one map with its values; its mean along the attack."""
    layer = pick_layer(result, "map_stage", maps=True)
    if layer is None:
        return
    run = result.run

    def work(progress: Progress) -> Iterator[Tensor]:
        model = cache.model(run.request.model, progress)
        yield activations(model, torch.cat([run.clean, run.attacked]), [layer.name])[layer.name]

    maps = answer("maps", (run, layer.name), "Computing the feature maps", work)
    if maps is None:
        return
    clean, attacked = maps
    moved = (attacked - clean).flatten(1).norm(dim=1)
    order = moved.argsort(descending=True)[:SHEET]
    _sheets(clean, attacked, order)
    channel = st.selectbox(
        "Map to look at",
        order.tolist(),
        key=Ask(NAME).key("channel"),
        format_func=lambda c: f"map {c}: changed by {moved[c] / clean[c].norm().clamp(min=TINY):.0%} of its length",
    )
    show_chart(
        figures.maps(clean[channel], attacked[channel]),
        "map",
        "The same map enlarged; clean and attacked share one scale. Hover for values.",
    )
    along = followed(result)
    if along is None:
        return
    left, right = st.columns(2)
    pixels = run.norm == "linf"
    sizes = [run.size * k / (STEPS - 1) * (255 if pixels else 1) for k in range(STEPS)]
    with left:
        st.markdown("**Along the attack's direction**")
        means = along.way[layer.name][:, channel].tolist()
        axis = f"size of the perturbation ({'n/255' if pixels else run.norm.upper()})"
        show_chart(figures.follow({"attack": (sizes, means)}, axis), "by_eps")
    with right:
        st.markdown("**Along the attack's iterations**")
        means = along.path[layer.name][:, channel].tolist()
        show_chart(figures.follow({"attack": (range(len(means)), means)}, "picture kept of the trajectory"), "by_step")


def _sheets(clean: Tensor, attacked: Tensor, order: Tensor) -> None:
    """The maps of both pictures and their differences, as three sheets."""
    own_scale = st.toggle(
        "Each map on its own scale",
        key=Ask(NAME).key("own_scale"),
        help="Off: one scale for all maps, so that their strengths compare.",
    )
    low, high = float(min(clean.min(), attacked.min())), float(max(clean.max(), attacked.max()))
    scale = f"one scale for all, from {low:.3g} to {high:.3g}"
    if own_scale:
        scale = "each map from its own smallest to its own largest value"
    st.caption(prose(NAME, "The maps", shown=len(order), all=len(clean), scale=scale))
    sheets = (("Clean", clean, False), ("Attacked", attacked, False), ("Difference", attacked - clean, True))
    for column, (title, values, signed) in zip(st.columns(3), sheets, strict=True):
        with column:
            st.markdown(f"**{title}**")
            show_image(figures.sheet(values[order], shared=not own_scale, signed=signed), f"{title} feature maps")
