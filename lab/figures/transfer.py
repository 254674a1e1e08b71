"""Figures of transfer between models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import plotly.graph_objects as go

from lab.experiments.transfer.matrix import Cell, Transfer
from lab.experiments.transfer.sweep import Point
from lab.figures.style import ADVERSARIAL, CLEAN, CONTROL, OTHERS, SEQUENTIAL, TARGET, TEXT, finish

What = Literal["success", "agreement", "same"]
ROW = 46
"""Height of a row of the matrix in pixels."""


def matrix(
    transfer: Transfer, names: Mapping[str, str], what: What = "success", sources: Sequence[str] = ()
) -> go.Figure:
    """Sources as rows, targets as columns, values printed in the cells; a click on a cell selects it.

    A model shown its own images is outlined. Each point's customdata are the keys of source and target.

    Args:
        transfer: what was measured.
        names: of the models, short ones, by their names in it.
        what: is shown in the cells.
        sources: all that there are to be, where some are still to come.
    """
    values = [[_value(cell, what) for cell in row] for row in transfer.cells]
    asked = sources or transfer.sources
    rows, columns = [names.get(s, s) for s in asked], [names.get(t, t) for t in transfer.targets]
    values += [[None] * len(columns)] * (len(rows) - len(values))
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        x=columns,
        y=rows,
        zmin=0,
        zmax=1,
        colorscale=SEQUENTIAL,
        showscale=False,  # the values stand in the cells
        hoverinfo="skip",
        xgap=2,
        ygap=2,
    )
    for s, cells in enumerate(transfer.cells):
        for t, cell in enumerate(cells):
            value = values[s][t]
            text = "–" if value is None else f"<b>{value:.0%}</b>"
            if what == "success":
                text += f"<br><span style='font-weight:normal'>{100 * cell.low:.0f}–{100 * cell.high:.0f}</span>"
            figure.add_annotation(
                x=columns[t],
                y=rows[s],
                text=text,
                showarrow=False,
                font={
                    "color": "black" if value is not None and value > 0.55 else "white",
                    "size": TEXT,
                },
            )
            if transfer.sources[s] == transfer.targets[t]:
                edges = {"x0": t - 0.48, "x1": t + 0.48, "y0": s - 0.48, "y1": s + 0.48}
                figure.add_shape(type="rect", **edges, line={"color": ADVERSARIAL, "width": 3})
    where = [(s, t) for s in range(len(transfer.sources)) for t in range(len(columns))]
    figure.add_scatter(
        x=[columns[t] for _, t in where],
        y=[rows[s] for s, _ in where],
        mode="markers",
        marker={"symbol": "square", "size": ROW - 6, "opacity": 0},
        customdata=[(transfer.sources[s], transfer.targets[t]) for s, t in where],
        text=[_hover(transfer, s, t, names) for s, t in where],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.update_xaxes(title="shown to", side="top", tickangle=-30 if len(columns) > 4 else 0)
    figure.update_yaxes(title={"text": "made on", "standoff": 4}, autorange="reversed")
    top = 96 if len(columns) > 4 else 56
    return finish(figure, height=top + ROW * max(1, len(rows)) + 50).update_layout(margin={"t": top, "r": 30})


def _value(cell: Cell, what: What) -> float | None:
    value: float | None = getattr(cell, what)
    return value


def _hover(transfer: Transfer, s: int, t: int, names: Mapping[str, str]) -> str:
    cell = transfer.cells[s][t]
    alike = "" if cell.agreement is None else f"<br>the same wrong class where both are fooled: {cell.agreement:.0%}"
    return (
        f"made on {names[transfer.sources[s]]}, shown to {names[transfer.targets[t]]}:<br>"
        f"{cell.fooled} of {transfer.n} fooled, {cell.success:.1%} (95%: {cell.low:.1%} to {cell.high:.1%}){alike}"
    )


def sweep(lines: Mapping[str, Sequence[Point]], axis: str, values: Sequence[float]) -> go.Figure:
    """Success on the source (dotted) and on the models that were never touched (solid), per attack.

    Args:
        lines: the points so far, by the attack's name.
        axis: what is varied.
        values: all that it is to take.
    """
    figure = go.Figure()
    for (name, points), colour in zip(lines.items(), (ADVERSARIAL, CLEAN, TARGET, *OTHERS), strict=False):
        at = [p.at for p in points]
        figure.add_scatter(
            x=at,
            y=[p.targets for p in points],
            error_y={
                "array": [p.high - p.targets for p in points],
                "arrayminus": [p.targets - p.low for p in points],
                "thickness": 1,
            },
            name=f"{name}, other models",
            mode="lines+markers",
            line_color=colour,
            hovertemplate="%{x:g}: %{y:.1%}<extra>" + name + ", other models</extra>",
        )
        figure.add_scatter(
            x=at,
            y=[p.source for p in points],
            name=f"{name}, its own model",
            mode="lines",
            line={"color": colour, "dash": "dot"},
            hovertemplate="%{x:g}: %{y:.1%}<extra>" + name + ", its own model</extra>",
        )
    room = 0.03 * (max(values) - min(values))
    figure.update_xaxes(title=axis, range=[min(values) - room, max(values) + room])
    figure.update_yaxes(title="images misclassified", range=[0, 1.03], tickformat=".0%")
    return finish(figure, height=400, legend=True).update_layout(margin={"t": 64})


def bars(cells: Mapping[str, Cell], highlighted: Sequence[str], every: Sequence[str]) -> go.Figure:
    """Success on one held-out model, by what the images were made on.

    Args:
        cells: what was measured, by the source's name.
        highlighted: names of sources that stand out.
        every: names of all sources, with those that are still to come.
    """
    figure = go.Figure()
    figure.add_bar(
        x=[cell.success for cell in cells.values()],
        y=list(cells),
        orientation="h",
        marker_color=[ADVERSARIAL if name in highlighted else CONTROL for name in cells],
        error_x={
            "array": [cell.high - cell.success for cell in cells.values()],
            "arrayminus": [cell.success - cell.low for cell in cells.values()],
        },
        text=[f"{cell.success:.0%}" for cell in cells.values()],
        textposition="inside",
        insidetextanchor="start",
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )
    figure.update_xaxes(title="images misclassified by the held-out model", range=[0, 1.03], tickformat=".0%")
    order = {"categoryorder": "array", "categoryarray": list(every), "range": [len(every) - 0.5, -0.5]}
    figure.update_yaxes(**order, dtick=1)
    return finish(figure, height=110 + 34 * len(every))
