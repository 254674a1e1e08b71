"""Figures of one attack on one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from lab.experiments.attack.linearity import Line
from lab.experiments.attack.plane import Plane
from lab.figures.style import (
    ADVERSARIAL,
    CLEAN,
    CONTROL,
    DIVERGING,
    OTHERS,
    PAIR,
    SEQUENTIAL,
    TARGET,
    TEXT,
    finish,
    outward,
)
from lab.types import Frame

NORM_NAMES = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}


def scaled(value: float, norm: str) -> str:
    """A size for a person: pixels as n/255, counts in full, lengths as they are."""
    if norm == "l0":
        return f"{value:,.0f} value{'' if value == 1 else 's'}"
    if norm != "linf":
        return f"{value:.3g} in {NORM_NAMES[norm]}"
    chosen = round(value * 255 * 4) / 4  # what is chosen is told to the quarter, what is measured in three digits
    return f"{chosen:g}/255" if abs(value * 255 - chosen) < 1e-4 else f"{value * 255:.3g}/255"


def top_classes(
    clean: Tensor, attacked: Tensor, classes: Sequence[str], target: int | None = None, count: int = 5
) -> go.Figure:
    """Bars of the most probable classes of both images, on the same classes.

    Args:
        clean: probabilities [K] of the clean image.
        attacked: probabilities [K] of the attacked image.
        classes: their names.
        target: the class that the attack is to reach, always shown.
        count: how many of each image; those under 1% in both are left out.
    """
    chosen = list(
        dict.fromkeys(
            attacked.topk(min(count, len(classes))).indices.tolist()
            + clean.topk(min(count, len(classes))).indices.tolist()
        )
    )
    always = {int(clean.argmax()), int(attacked.argmax())} | ({target} if target is not None else set())
    chosen = [k for k in dict.fromkeys([*chosen, *always]) if k in always or max(clean[k], attacked[k]) >= 0.01]
    chosen.sort(key=lambda k: max(clean[k].item(), attacked[k].item()))
    names = [classes[k] + (" (goal)" if k == target else "") for k in chosen]
    figure = go.Figure()
    for label, p, colour in (("attacked", attacked, ADVERSARIAL), ("clean", clean, CLEAN)):
        values = [p[k].item() for k in chosen]
        figure.add_bar(
            y=names,
            x=values,
            orientation="h",
            name=label,
            marker_color=colour,
            text=[f"{v:.0%}" if v >= 0.005 else "<1%" for v in values],
            textposition="outside",
            textfont_size=TEXT,
            constraintext="none",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2%}<extra>" + label + "</extra>",
        )
    figure.update_xaxes(range=[0, 1.12], tickformat=".0%", tickvals=[0, 0.5, 1])
    figure.update_yaxes(type="category")
    figure.update_layout(bargap=0.3, legend_traceorder="reversed", barmode="group")
    finish(figure, height=92 + 38 * len(chosen), title="Most probable classes", legend=True)
    return figure.update_layout(margin={"t": 72})


def times(factor: float) -> str:
    """An amplification for a person."""
    return f"{factor:.0f} times" if factor >= 10 else f"{factor:.2g} times"


def _left_titles(figure: go.Figure, count: int) -> None:
    """Subplot titles at the left edge, where they are read first and cover nothing."""
    for note in figure.layout.annotations[:count]:
        note.update(x=0, xanchor="left", font_size=TEXT)


def _colours(classes: Sequence[int], clean: int, attacked: int, target: int | None = None) -> dict[int, str]:
    """A colour for each class: the one seen at first, the one seen now, the goal, and the others in turn."""
    spare = iter(OTHERS * len(classes))
    fixed = {target: TARGET, attacked: ADVERSARIAL, clean: CLEAN}
    return {k: fixed[k] if k in fixed else next(spare) for k in classes}


def line(
    result: Line,
    classes: Sequence[str],
    norm: str,
    target: int | None = None,
    iterates: Mapping[int, float] = MappingProxyType({}),
    chosen: int | None = None,
    count: int = 4,
) -> go.Figure:
    """Logits along the attack's direction, with noise of the same norm as the control.

    Args:
        result: the model along the line.
        classes: class names.
        norm: in which epsilon is measured.
        target: the class that the attack is to reach, always drawn.
        iterates: by step, how far from the clean image each is; a click on one selects it, its customdata is the step.
        chosen: the step that is looked at.
        count: how many classes besides the clean one are drawn.
    """
    unit = 255 if norm == "linf" else 1
    eps = (result.eps * unit).tolist()
    zero = len(eps) // 2
    seen = int(result.logits[zero].argmax())
    final = int(result.logits[-1].argmax())
    winners = result.logits.argmax(1).unique(sorted=False).tolist()
    rivals = result.logits.amax(0).topk(min(count + 2, len(classes))).indices.tolist()
    goal = [target] if target is not None else []
    drawn = list(dict.fromkeys([seen, final, *goal, *winners, *rivals]))[: max(count + 1, min(8, 2 + len(winners)))]
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        shared_yaxes="all",
        row_heights=[0.62, 0.38],
        vertical_spacing=0.09,
        subplot_titles=["along the attack", "along random noise of the same size (control)"],
    )
    for k, colour in _colours(drawn, seen, final, target).items():
        for row, logits in ((1, result.logits), (2, result.noise)):
            figure.add_scatter(
                x=eps,
                y=logits[:, k].tolist(),
                mode="lines",
                name=classes[k],
                legendgroup=str(k),
                showlegend=row == 1,
                line={"color": colour, "width": 3 if k in (seen, final) else 1.5},
                hovertemplate="%{x:.3g}: %{y:.2f}<extra>" + classes[k] + "</extra>",
                row=row,
                col=1,
            )
    marks = [(result.flip, "class changes", "top left", CONTROL)]
    if target is not None:
        marks.append((result.reached, "goal reached", "bottom left", TARGET))
    for place, text, position, colour in marks:
        if place is not None:
            figure.add_vline(
                x=place * unit,
                line={"dash": "dash", "color": colour},
                row=1,
                col=1,
                annotation_text=text,
                annotation_position=position,
            )
    if iterates:
        sizes = [size * unit for size in iterates.values()]
        figure.add_scatter(
            x=sizes,
            y=[float(result.logits[:, drawn].min())] * len(sizes),
            customdata=list(iterates),
            mode="markers",
            marker={
                "symbol": "triangle-up",
                "size": [16 if step == chosen else 11 for step in iterates],
                "color": [ADVERSARIAL if step == chosen else CONTROL for step in iterates],
            },
            name="iterations of the attack",
            hovertemplate="iteration %{customdata} has moved by %{x:.3g}<extra></extra>",
            row=1,
            col=1,
        )
    if chosen is not None and chosen in iterates:
        label: dict[str, Any] = {"annotation_text": f"iteration {chosen:,}", "annotation_position": "bottom right"}
        figure.add_vline(x=iterates[chosen] * unit, line={"color": ADVERSARIAL, "width": 1}, row=1, col=1, **label)
    figure.update_yaxes(title="logit")
    figure.update_xaxes(title="epsilon" + (" (n/255)" if norm == "linf" else f" ({NORM_NAMES[norm]})"), row=2)
    finish(figure, height=560, legend=True)
    _left_titles(figure, 2)
    return figure.update_layout(margin={"t": 70}, legend={"y": 1.06})


def plane(result: Plane, classes: Sequence[str], reached: str) -> go.Figure:
    """Classes over (attack direction x random direction), the clean and the attacked image marked.

    Args:
        result: the classes on the plane.
        classes: their names.
        reached: the size of the attack, for the axis title.
    """
    present, counts = result.classes.unique(return_counts=True)
    present = present[counts.argsort(descending=True)]
    zero = len(result.across) // 2
    seen = int(result.classes[zero, (result.along.abs()).argmin()])
    attacked = int(result.classes[zero, (result.along - 1).abs().argmin()])
    order = list(dict.fromkeys([seen, attacked, *present.tolist()]))[:8]
    colours = list(_colours(order, seen, attacked).values())
    index = torch.full_like(result.classes, len(order))
    for i, k in enumerate(order):
        index[result.classes == k] = i
    names = [classes[k] for k in order] + ["any other class"]
    colours.append("#CCCCCC")
    scale = [[e / len(names), c] for i, c in enumerate(colours) for e in (i, i + 1)]
    hover = [
        [f"{classes[int(k)]} ({p:.0%})" for k, p in zip(ks, ps, strict=True)]
        for ks, ps in zip(result.classes.tolist(), result.confidence.tolist(), strict=True)
    ]
    u, v = result.along.tolist(), result.across.tolist()
    figure = go.Figure(
        go.Heatmap(
            x=u,
            y=v,
            z=index.numpy(),
            colorscale=scale,
            zmin=0,
            zmax=len(names),
            showscale=False,
            text=hover,
            opacity=0.85,
            hovertemplate="%{text}<br>%{x:.2f} along, %{y:.2f} across<extra></extra>",
        )
    )
    used = set(index.flatten().tolist())
    for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
        if i in used:
            marker = {"size": 12, "color": colour, "symbol": "square"}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name)
    figure.add_scatter(
        x=[0, 1],
        y=[0, 0],
        mode="markers+text",
        text=["clean", "attacked"],
        textposition="top center",
        marker={"size": 12, "color": "white", "line": {"color": "black", "width": 2}, "symbol": ["circle", "x"]},
        textfont={"color": "white", "size": 15, "shadow": "1px 1px 3px black"},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_xaxes(title=f"along the attack (1 = {reached})", constrain="domain")
    figure.update_yaxes(title="across: a random direction", scaleanchor="x", constrain="domain")
    finish(figure, height=520, legend=True)
    return figure.update_layout(margin={"t": 60})


def channels(delta: Tensor, limit: float) -> go.Figure:
    """A perturbation [C,H,W], one map a channel, on a diverging scale with limits at +-limit."""
    names = ["gray"] if len(delta) == 1 else ["red", "green", "blue"]
    unit = 255.0
    figure = make_subplots(rows=1, cols=len(delta), subplot_titles=names, horizontal_spacing=0.03)
    for i, channel in enumerate(delta):
        figure.add_trace(
            go.Heatmap(
                z=(channel * unit).numpy().astype(np.float32),
                coloraxis="coloraxis",
                hovertemplate="row %{y}, column %{x}: %{z:.2f}/255<extra></extra>",
            ),
            row=1,
            col=i + 1,
        )
        axis = "" if i == 0 else str(i + 1)
        figure.update_yaxes(
            autorange="reversed", scaleanchor=f"x{axis}", constrain="domain", visible=False, row=1, col=i + 1
        )
    figure.update_xaxes(visible=False, constrain="domain")
    colours = {
        "colorscale": DIVERGING,
        "cmin": -limit * unit,
        "cmax": limit * unit,
        "cmid": 0,
        "colorbar": {"title": "n/255", "thickness": 14},
    }
    return finish(figure, height=330).update_layout(coloraxis=colours, margin={"t": 40})


def spectrum(amplitudes: Tensor) -> go.Figure:
    """The amplitudes [H,W] of a perturbation's spectrum, on a logarithmic scale."""
    height, width = amplitudes.shape
    figure = go.Figure(
        go.Heatmap(
            z=torch.log10(amplitudes + 1e-8).numpy().astype(np.float32),
            x=np.fft.fftshift(np.fft.fftfreq(width)).astype(np.float32),
            y=np.fft.fftshift(np.fft.fftfreq(height)).astype(np.float32),
            colorscale=SEQUENTIAL,
            zmin=float(torch.log10(amplitudes.flatten().quantile(0.02) + 1e-8)),
            colorbar={"title": "log10", "thickness": 14},
            hovertemplate="%{x:.2f}, %{y:.2f} cycles per pixel: 10^%{z:.2f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="cycles per pixel, horizontal", constrain="domain")
    figure.update_yaxes(title="vertical", scaleanchor="x", constrain="domain")
    return finish(figure, height=360)


def margin_so_far(margins: Sequence[float], steps: int | None) -> go.Figure:
    """The margin of an attack that is at work, iteration by iteration; the axes stay while it goes on.

    Args:
        margins: after each iteration so far.
        steps: how many iterations there are to be at most; None where that is not known.
    """
    figure = go.Figure()
    figure.add_scatter(
        y=list(margins),
        mode="lines+markers" if len(margins) <= 50 else "lines",
        line={"color": ADVERSARIAL, "width": 3},
        hovertemplate="iteration %{x:,}: %{y:.3g}<extra></extra>",
    )
    figure.add_hline(y=0, line={"dash": "dot", "color": CONTROL, "width": 1})
    figure.update_xaxes(title="iteration", range=outward(0, len(margins) - 1) if steps is None else [0, steps])
    figure.update_yaxes(title="margin (logits)", range=outward(min(0.0, *margins), max(0.0, *margins)))
    return finish(figure, height=220)


def against_passes(runs: Mapping[str, tuple[str, Sequence[Frame]]], row: int = 0) -> go.Figure:
    """The margins of two attacks on one image against the forward passes that they spent, on the same axes.

    Args:
        runs: per letter ("A", "B"), the attack's name and its trace.
        row: which image of the batch.
    """
    figure = go.Figure()
    most = []
    for (letter, (name, frames)), (colour, dash) in zip(runs.items(), PAIR, strict=True):
        passes = [max(1, int(f.queries[row])) for f in frames]
        margins = [f.margin[row].item() for f in frames]
        most.append(passes[-1])
        figure.add_scatter(
            x=passes,
            y=margins,
            mode="lines+markers" if len(frames) <= 50 else "lines",
            line={"color": colour, "dash": dash, "width": 3},
            name=f"{letter}: {name}",
            hovertemplate="%{x} passes: %{y:.3g}<extra>" + letter + "</extra>",
        )
        end = {"color": colour, "size": 16}
        figure.add_scatter(
            x=passes[-1:],
            y=margins[-1:],
            mode="text",
            text=[f"<b>{letter}</b>"],
            textposition="top right",
            textfont=end,
            showlegend=False,
            hoverinfo="skip",
            cliponaxis=False,
        )
    figure.add_hline(y=0, line={"dash": "dot", "color": CONTROL, "width": 1})
    uneven = max(most) > 20 * min(most)
    figure.update_xaxes(title="forward passes" + (", on a logarithmic scale" if uneven else ""))
    if uneven:
        figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(title="margin (logits)")
    finish(figure, height=360, legend=True)
    return figure.update_layout(margin={"t": 40, "r": 40})
