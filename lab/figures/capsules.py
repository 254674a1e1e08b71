"""Figures of a capsule network: its parts, its routing, its drawings, and how it stands beside another network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from lab.defenses.detect import Roc
from lab.experiments.robustness.curves import Outcome
from lab.figures.common import add_accuracy, histogram, roc
from lab.figures.pictures import data_url
from lab.figures.representations import sheet
from lab.figures.style import ADVERSARIAL, CLEAN, CONTROL, DIVERGING, OTHERS, PAIR, TEXT, finish

WHO = (("clean", CLEAN), ("attacked", ADVERSARIAL))
CELL = 11
"""Pixels of one primary capsule on a sheet."""


def parts(maps: Tensor, *, limit: float, signed: bool = False) -> Tensor:
    """Lengths of primary capsules [T,h,w], a small map for each type, as one picture [3,H,W] on white.

    Args:
        maps: the lengths, or how they changed.
        limit: the length at the end of the colour scale.
        signed: colours diverge around 0.
    """
    large = maps.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)
    return sheet(large, shared=True, signed=signed, limit=limit)


def lengths(both: Tensor, classes: Sequence[str]) -> go.Figure:
    """Lengths [2,K] of the class capsules of the clean and of the attacked image."""
    figure = go.Figure()
    for (name, colour), values in zip(WHO, both.tolist(), strict=True):
        figure.add_bar(
            x=list(classes),
            y=values,
            name=name,
            marker_color=colour,
            text=[f"{v:.2f}" if v >= 0.15 else "" for v in values],
            textposition="outside",
            textfont_size=TEXT,
            textangle=-90,
            constraintext="none",
            cliponaxis=False,
            hovertemplate="%{x}: %{y:.3f}<extra>" + name + "</extra>",
        )
    figure.update_xaxes(type="category", title="class capsule")
    figure.update_yaxes(range=[0, 1.15], tickvals=[0, 0.5, 1], title="length")
    figure.update_layout(barmode="group", bargap=0.25)
    finish(figure, height=340, legend=True)
    return figure.update_layout(margin={"t": 30})


def routing(shares: Tensor, lengths: Tensor, types: int, classes: Sequence[str]) -> go.Figure:
    """Routing, iteration by iteration, to be stepped in the browser.

    Args:
        shares: of every primary capsule that goes to each class [R,2,I,K], of the clean and of the attacked image.
        lengths: of the class capsules that this makes [R,2,K].
        types: how many types of primary capsules there are; those of one type stand together.
        classes: names of the classes.
    """
    title = ("Clean: share of each part that goes to each class", "Attacked: the same", "Lengths of the class capsules")
    figure = make_subplots(rows=3, cols=1, vertical_spacing=0.12, row_heights=[0.35, 0.35, 0.3], subplot_titles=title)
    _add_shares(figure, shares[-1], shares.shape[2] // types, classes, reach=_reach(shares))
    for (name, colour), values in zip(WHO, lengths[-1].tolist(), strict=True):
        figure.add_bar(x=list(classes), y=values, name=name, marker_color=colour, row=3, col=1)
    figure.frames = [
        go.Frame(
            name=str(r + 1),
            data=[
                *(go.Heatmap(z=_percent(each)) for each in both),
                *(go.Bar(y=values) for values in long.tolist()),
            ],
            traces=[0, 1, 2, 3],
        )
        for r, (both, long) in enumerate(zip(shares, lengths, strict=True))
    ]
    _mark_types(figure, types, shares.shape[2] // types)
    figure.update_xaxes(title="primary capsules, by type", row=2, col=1)
    figure.update_xaxes(type="category", row=3, col=1)
    figure.update_yaxes(range=[0, 1], tickvals=[0, 0.5, 1], row=3, col=1)
    for note in figure.layout.annotations:
        note.update(x=0, xanchor="left", font_size=TEXT)
    finish(figure, height=860, barmode="group")
    return figure.update_layout(margin={"t": 96}, sliders=[_stepper(len(shares))])


def _reach(shares: Tensor) -> float:
    """How far the colours reach from even shares: as far as all but the most decided parts."""
    return max(float((shares - 1 / shares.shape[3]).abs().flatten().quantile(0.995)), 1e-3)


def _add_shares(figure: go.Figure, shares: Tensor, places: int, classes: Sequence[str], reach: float) -> None:
    """Adds the heat maps of the shares [2,I,K] of the clean image, above, and of the attacked one."""
    _, count, k = shares.shape
    names = [f"type {i // places + 1}, place {i % places + 1}" for i in range(count)]
    for row in (0, 1):
        figure.add_heatmap(
            z=_percent(shares[row]),
            y=list(classes),
            customdata=[names] * k,
            zmin=100 * (1 / k - reach),
            zmax=100 * (1 / k + reach),
            colorscale=DIVERGING,
            colorbar={"ticksuffix": "%", "thickness": 10, "len": 0.3, "y": 0.86, "nticks": 5},
            showscale=row == 0,
            hovertemplate="%{customdata}, to %{y}: %{z:.1f}%<extra></extra>",
            row=row + 1,
            col=1,
        )


def _mark_types(figure: go.Figure, types: int, places: int) -> None:
    """Numbers the types of primary capsules below both heat maps, and draws lines between them."""
    for row in (1, 2):
        figure.update_xaxes(
            tickvals=[places * t + (places - 1) / 2 for t in range(types)],
            ticktext=[str(t + 1) for t in range(types)],
            showgrid=False,
            row=row,
            col=1,
        )
        for t in range(1, types):
            figure.add_vline(x=places * t - 0.5, line={"color": CONTROL, "width": 1}, row=row, col=1)
        figure.update_yaxes(type="category", autorange="reversed", row=row, col=1)


def _stepper(rounds: int) -> dict[str, object]:
    """The slider that steps through the iterations, on the last one to begin with."""
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    return {
        "steps": [{"method": "animate", "label": str(r + 1), "args": [[str(r + 1)], still]} for r in range(rounds)],
        "active": rounds - 1,
        "currentvalue": {"prefix": "iteration ", "xanchor": "left"},
        "x": 0,
        "y": 1.04,
        "yanchor": "bottom",
        "len": 1.0,
        "pad": {"t": 0, "b": 26},
        "ticklen": 3,
    }


def _percent(shares: Tensor) -> list[list[float]]:
    """Shares [I,K] as rows of a heat map, one a class, in percent."""
    values: list[list[float]] = (100 * shares.T).round(decimals=2).tolist()
    return values


def turned(drawings: Tensor, steps: Sequence[float]) -> go.Figure:
    """Drawings [D,S,C,H,W] of a capsule, a row for each dimension and a column for each step, with both on the axes."""
    dimensions, count, _, height, width = drawings.shape
    gap = 2
    page = torch.full((drawings.shape[2], dimensions * (height + gap), count * (width + gap)), 0.5)
    for d in range(dimensions):
        for s in range(count):
            page[:, d * (height + gap) :, s * (width + gap) :][:, :height, :width] = drawings[d, s]
    figure = go.Figure(go.Image(source=data_url(page, page.shape[2]), hoverinfo="skip"))
    figure.update_xaxes(
        tickvals=[s * (width + gap) + width / 2 for s in range(count)],
        ticktext=[f"{s:+.2f}" if s else "0" for s in steps],
        side="top",
        showgrid=False,
        constrain="domain",
        constraintoward="left",
    )
    figure.update_yaxes(
        tickvals=[d * (height + gap) + height / 2 for d in range(dimensions)],
        ticktext=[str(d + 1) for d in range(dimensions)],
        showgrid=False,
        constrain="domain",
        constraintoward="top",
        title="dimension",
    )
    return finish(figure, height=800)


def against(outcomes: Sequence[Outcome], names: Mapping[str, str], title: str, top: float) -> go.Figure:
    """Accuracy against epsilon of two networks under one attack, with 95% intervals.

    Args:
        outcomes: of both, or of the one that the attack is for; as far as they came.
        names: of the networks, by their names in the outcomes.
        title: the attack's name.
        top: the largest epsilon, so that all panels have the same axis.
    """
    figure = go.Figure()
    styles = dict(zip(names, PAIR, strict=True))
    for o in outcomes:
        add_accuracy(figure, o, names[o.model], *styles[o.model])
    figure.update_xaxes(range=[-0.03 * 255 * top, 1.03 * 255 * top], title="epsilon (n/255)", nticks=5)
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%", tickvals=[0, 0.5, 1])
    finish(figure, height=260, title=title, legend=True)
    return figure.update_layout(margin={"t": 66})


def errors(clean: Tensor, attacked: Tensor, limit: float) -> go.Figure:
    """Histogram of how far the drawings are from clean [N] and attacked [M] images, with the threshold."""
    groups = [(name, colour, values) for (name, colour), values in zip(WHO, (clean, attacked), strict=True)]
    return histogram(groups, limit, "distance between image and drawing (L2)")


def rocs(curves: Mapping[str, Roc], rate: float) -> go.Figure:
    """Detection against false-positive rate, one line for each attack, and the rate that the threshold is set for."""
    return roc(curves, rate, OTHERS, flagged="flagged", height=440)
