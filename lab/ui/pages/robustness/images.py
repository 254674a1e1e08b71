"""The tab that says image by image which attack broke it, at what distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from lab.experiments.robustness.curves import ROOM, Robustness
from lab.models.catalog import find_model
from lab.ui.pages.robustness.setup import NAME, Setup, finished
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.prose import prose

ROWS = 200
"""Images that the table shows, at most."""


def images(setup: Setup, result: Robustness) -> None:
    """Which attack broke which image of one model at what distance."""
    names = setup.names
    model = Ask(NAME).select("table_model", "Model", setup.models, setup.models[0], format_func=names.__getitem__)
    outcomes = [o for o in finished(setup, result) if o.model == model]
    if not outcomes:
        st.info("This model has not been measured yet.")
        return
    data, classes = cache.first_images(setup.models, setup.count), find_model(str(model)).card().classes
    unit = 255 if setup.norm == "linf" else 1
    rows = []
    for i in range(min(len(data.y), ROWS)):
        row: dict[str, Any] = {"image": data.ids[i], "class": classes[int(data.y[i])]}
        distances = {o.attack: float(o.distance[i]) for o in outcomes}
        row["first broken by"] = _first(distances, setup) if outcomes[0].right[i] else "wrong when clean"
        for attack, distance in distances.items():
            row[setup.methods[attack]] = None if distance == float("inf") else distance * unit
        rows.append(row)
    number = st.column_config.NumberColumn(format="%.3g")
    columns = {setup.methods[o.attack]: number for o in outcomes}
    st.dataframe(rows, hide_index=True, width="stretch", key="by_image", column_config=columns)
    st.caption(prose(NAME, "The table", n=len(rows), unit=" (n/255)" if unit == 255 else ""))


def _first(distances: Mapping[str, float], setup: Setup) -> str:
    """The attacks that needed the smallest perturbation."""
    least = min(distances.values())
    if least == float("inf"):
        return "none"
    return ", ".join(setup.methods[key] for key, distance in distances.items() if distance <= least * ROOM)
