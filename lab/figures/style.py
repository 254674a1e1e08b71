"""What colours mean, the same everywhere, and the look that all charts share."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

CLEAN = "#0072B2"
ADVERSARIAL = "#D55E00"
CONTROL = "#8A8A8A"
TARGET = "#009E73"
OTHERS = ("#E69F00", "#56B4E9", "#CC79A7", "#9A6A4F", "#7F7FBF", "#5FA5A5")
"""For further classes: the rest of the Okabe-Ito set that is seen on white and on black, then muted tones."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Lines that differ where their colours do not."""
PAIR = (("#CC79A7", "solid"), ("#56B4E9", "dash"))
"""Colour and dash of two runs that are compared, A and B."""
DIVERGING = "RdBu"
SEQUENTIAL = "Cividis"

TEXT = 14
"""Pixels of the text in charts, at least."""
CONFIG: dict[str, Any] = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
"""Options of every chart on a page."""


def outward(low: float, high: float) -> list[float]:
    """A range around two values that ends on round numbers, so that an axis seldom moves while its values grow."""
    span = max(high - low, 1e-9)
    unit = 10.0 ** math.floor(math.log10(span))
    step = unit * next(s for s in (0.2, 0.5, 1, 2) if span / (unit * s) <= 5)
    first = math.floor(low / step)
    return [step * first, step * max(first + 1, math.ceil(high / step))]


def larger(figure: go.Figure, factor: float) -> go.Figure:
    """The same chart with all its text, the room for it, and its height enlarged; its curves stay as they are."""

    def walk(part: Any, name: str = "") -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                if (key == "size" and name.endswith("font")) or (name == "margin" and isinstance(value, int | float)):
                    part[key] = factor * value
                else:
                    walk(value, key)
        elif isinstance(part, list | tuple):
            for each in part:
                walk(each, name)

    plain = figure.to_plotly_json()
    walk(plain)
    made = go.Figure(plain)
    return made.update_layout(height=factor * figure.layout.height if figure.layout.height else None)


def finish(figure: go.Figure, *, height: int, title: str = "", legend: bool = False, **layout: Any) -> go.Figure:
    """The shared look: title on the left, room for direct labels, a legend only where asked."""
    figure.update_layout(
        height=height,
        title={"text": title, "x": 0, "y": 1, "yanchor": "top", "pad": {"t": 8}, "font": {"size": TEXT + 1}}
        if title
        else None,
        margin={"l": 10, "r": 10, "t": 44 if title else 10, "b": 10},
        showlegend=legend,
        font={"size": TEXT},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "font": {"size": TEXT}},
        hoverlabel={"font": {"size": TEXT}},
        **layout,
    )
    axis = {"automargin": True, "tickfont": {"size": TEXT}, "title": {"font": {"size": TEXT}}}
    figure.update_xaxes(axis)
    figure.update_yaxes(axis)
    return figure
