"""The images behind one cell of the matrix."""

from __future__ import annotations

import streamlit as st

from lab.experiments.transfer.matrix import Matrix
from lab.models.catalog import find_model
from lab.ui.pages.transfer.setup import NAME, Setup
from lab.ui.parts.tiles import stacks, thumbnail
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.prose import prose

PAIRS = 6
SOURCE, TARGET = Ask(NAME).key("source"), Ask(NAME).key("target")


def pick() -> None:
    """Called when a cell is clicked: chooses its source and target."""
    points = st.session_state["matrix"].selection.points
    if points:
        st.session_state[SOURCE], st.session_state[TARGET] = points[0]["customdata"]


def pairs(setup: Setup, result: Matrix) -> None:
    """Images of one cell: clean, as attacked, and what both models see."""
    of, names, classes = result.transfer, setup.names, find_model(setup.models[0]).card().classes
    for key, options, first in ((SOURCE, of.sources, 0), (TARGET, of.targets, 1)):
        if st.session_state.get(key, options[0]) not in options:
            st.session_state[key] = options[first % len(options)]
    left, right = st.columns(2)
    ask = Ask(NAME)
    with left:
        source = ask.select("source", "Made on", of.sources, of.sources[0], format_func=names.__getitem__)
    with right:
        shown = of.targets[1 % len(of.targets)]
        target = ask.select("target", "Shown to", of.targets, shown, format_func=names.__getitem__)
    data, made = cache.first_images(setup.models, setup.count), of.predictions[of.sources.index(source)]
    y, by_target, by_source = data.y[of.rows], made[of.targets.index(target)], made[of.targets.index(source)]
    order = (by_target != y).long().argsort(descending=True, stable=True)[:PAIRS].tolist()
    st.caption(prose(NAME, "The images of a cell", target=names[target], source=names[source]))
    clean = [(thumbnail(data.x[of.rows[i]]), classes[int(y[i])]) for i in order]
    attacked = [
        (thumbnail(of.x[source][i]), f"{classes[int(by_target[i])]} ({classes[int(by_source[i])]})") for i in order
    ]
    stacks(zip(clean, attacked, strict=True))
