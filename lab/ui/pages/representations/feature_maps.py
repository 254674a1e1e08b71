"""The tab with the maps of one stage that change the most, and one of them enlarged and followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import streamlit as st
import torch
from torch import Tensor

from lab.experiments.representations.activations import activations
from lab.experiments.representations.follow import STEPS
from lab.experiments.representations.representation import Representation
from lab.figures import representations as figures
from lab.figures.pictures import data_url
from lab.progress import Progress
from lab.types import TINY
from lab.ui.pages.representations.setup import NAME, followed, pick_layer
from lab.ui.parts.gallery import THUMB, Thumbnail, show_gallery
from lab.ui.parts.moment import clicked, pick_moment, picture_at
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

SHEET = 32
"""Feature maps on a sheet."""
SHOWN = ("Clean", "Attacked", "Difference")
_CLICKED = "_clicked_map"
"""Where the session keeps the map that was clicked, for the widget that chooses it."""


def feature_maps(scenario: Scenario, result: Representation) -> None:
    """Clean, attacked and difference of the maps; one map with its values; its mean along the attack."""
    layer = pick_layer(result, "map_stage", maps=True)
    if layer is None:
        return
    run = result.run
    step = pick_moment(run, "maps")

    def work(progress: Progress) -> Iterator[Tensor]:
        model = cache.model(run.request.model, progress)
        yield activations(model, torch.cat([run.clean, run.attacked, picture_at(run, step)]), [layer.name])[layer.name]

    maps = answer("maps", (run, layer.name, step), "Computing the feature maps", work)
    if maps is None:
        return
    clean, attacked, now = maps
    moved = (attacked - clean).flatten(1).norm(dim=1)
    order = moved.argsort(descending=True).tolist()
    moved = (now - clean).flatten(1).norm(dim=1)
    share = {c: float(moved[c] / clean[c].norm().clamp(min=TINY)) for c in order}
    sheet = st.container()
    ask = Ask(NAME)
    if _CLICKED in st.session_state:
        st.session_state[ask.key("channel")] = st.session_state.pop(_CLICKED)
    channel = ask.select(
        "channel",
        "Map to look at",
        order,
        order[0],
        format_func=lambda c: f"map {c}",
    )
    when = "The attack changes" if step is None else f"By iteration {step:,} the attack has changed"
    st.markdown(f"{when} map {channel} by **{share[channel]:.0%}** of its length.")
    with sheet:
        _sheet(clean, now, order[:SHEET], share, channel)
    show_chart(
        figures.maps(clean[channel], now[channel]),
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
        counted = {step: mean for step, mean in zip(along.steps, means, strict=True) if step is not None}
        figure = figures.follow({"attack": (list(counted), list(counted.values()))}, "iterations", step)
        show_chart(
            figure,
            "by_step",
            "A click on a point shows the maps of that iteration.",
            on_select=partial(clicked, "by_step", run),
        )


def _sheet(clean: Tensor, attacked: Tensor, order: Sequence[int], share: Mapping[int, float], chosen: int) -> None:
    """The maps that change the most, large enough to see; one that is clicked is opened below."""
    ask = Ask(NAME)
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        shown = ask.segment("shown", "Maps of", SHOWN, "Attacked", label_visibility="collapsed", width="content")
    with right:
        own_scale = ask.toggle(
            "own_scale",
            "Each map on its own scale",
            help="Off: one scale for all maps, so that their strengths can be compared.",
        )
    low, high = float(min(clean.min(), attacked.min())), float(max(clean.max(), attacked.max()))
    scale = f"one scale for all, from {low:.3g} to {high:.3g}"
    if own_scale:
        scale = "each map scaled from its own smallest to its own largest value"
    values = {"Clean": clean, "Attacked": attacked, "Difference": attacked - clean}[shown][order]
    pictures = figures.pictures_of(values, shared=not own_scale, signed=shown == "Difference", ends=(low, high))
    thumbnails = [
        Thumbnail(str(c), f"map {c}: {share[c]:.0%}", data_url(picture, THUMB))
        for c, picture in zip(order, pictures, strict=True)
    ]
    clicked = show_gallery(thumbnails, str(chosen), "maps")
    st.caption(prose(NAME, "The maps", shown=len(order), all=len(clean), scale=scale))
    if clicked is not None and int(clicked) != chosen:
        st.session_state[_CLICKED] = int(clicked)
        st.rerun()
