"""Figures and lines that several experiments draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lab.defenses.detect import Roc
from lab.experiments.robustness.curves import Outcome
from lab.figures.style import CONTROL, DASHES, finish

BINS = 40


def add_accuracy(figure: go.Figure, outcome: Outcome, name: str, colour: str, dash: str) -> None:
    """Adds the line of accuracy against epsilon, with bars for the 95% intervals; in L-infinity epsilon in 255ths."""
    points, unit = outcome.curve, 255 if outcome.norm == "linf" else 1
    figure.add_scatter(
        x=[unit * p.eps for p in points],
        y=[p.accuracy for p in points],
        error_y={
            "array": [p.high - p.accuracy for p in points],
            "arrayminus": [p.accuracy - p.low for p in points],
            "thickness": 1,
            "width": 3,
        },
        mode="lines+markers",
        name=name,
        line={"color": colour, "dash": dash, "width": 2},
        hovertemplate=f"ε %{{x:.3g}}{'/255' if unit == 255 else ''}: %{{y:.1%}}<extra>{name}</extra>",
    )


def roc(
    curves: Mapping[str, Roc], false: float, colours: Sequence[str], *, flagged: str = "rejected", height: int = 340
) -> go.Figure:
    """ROC curves by name, with the false-positive rate that the threshold has on clean images.

    Args:
        curves: by name.
        false: the rate at the threshold.
        colours: of the curves, in order.
        flagged: what happens to an image that is detected.
        height: of the figure.
    """
    figure = go.Figure()
    for k, (name, curve) in enumerate(curves.items()):
        figure.add_scatter(
            x=curve.false.tolist(),
            y=curve.true.tolist(),
            mode="lines",
            line={"shape": "hv", "color": colours[k % len(colours)], "dash": DASHES[k % len(DASHES)], "width": 2},
            name=f"{name}: area {curve.area:.3f}",
            hovertemplate="%{x:.1%} of clean, %{y:.1%} of attacked<extra>" + name + "</extra>",
        )
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": CONTROL, "width": 1, "dash": "dot"}, name="chance"
    )
    figure.add_vline(
        x=false,
        line={"dash": "dash", "width": 1},
        annotation_text=f"threshold: {false:.1%}",
        annotation_position="bottom right",
    )
    figure.update_xaxes(title=f"clean images {flagged}", range=[-0.01, 1.01], tickformat=".0%")
    figure.update_yaxes(title=f"fooling images {flagged}", range=[0, 1.02], tickformat=".0%")
    finish(figure, height=height, legend=True)
    return figure.update_layout(margin={"t": 20 + 22 * ((len(curves) + 2) // 2)})


def histogram(groups: Sequence[tuple[str, str, Tensor]], limit: float, title: str) -> go.Figure:
    """Histograms of a detector's scores, one over the other, with the threshold.

    Args:
        groups: name, colour and scores [N] of each.
        limit: the threshold.
        title: what the scores are.
    """
    figure = go.Figure()
    edges = np.linspace(
        0, max([limit, *(float(values.max()) for *_, values in groups if len(values))]) * 1.02, BINS + 1
    )
    for name, colour, values in groups:
        counts, _ = np.histogram(values.numpy(), edges)
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts / max(1, len(values)),
            width=edges[1] - edges[0],
            name=f"{name} ({len(values)})",
            marker_color=colour,
            opacity=0.6,
            hovertemplate="%{x:.3g}: %{y:.1%}<extra>" + name + "</extra>",
        )
    figure.add_vline(
        x=limit, line={"dash": "dash"}, annotation_text=f"threshold {limit:.3g}", annotation_position="top right"
    )
    figure.update_xaxes(title=title)
    figure.update_yaxes(title="share of the images", tickformat=".0%")
    return finish(figure, height=340, legend=True, barmode="overlay").update_layout(margin={"t": 60})
