"""Figures of what a network computes on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import plotly.graph_objects as go
import torch
from plotly.colors import sample_colorscale, unlabel_rgb
from plotly.subplots import make_subplots
from torch import Tensor

from lab.experiments.representations.activations import Depth
from lab.experiments.representations.embedding import Embedding
from lab.experiments.representations.lipschitz import Stretch
from lab.figures.style import ADVERSARIAL, CLEAN, CONTROL, DIVERGING, OTHERS, SEQUENTIAL, TARGET, TEXT, finish
from lab.types import TINY

GAP = 2
"""Pixels between the maps of a sheet."""
BAR = {"thickness": 8, "len": 0.28, "nticks": 4}
"""Size of a colour bar below maps."""
WIDTH = 320
"""Pixels that a sheet is wide at most, unless its maps are very large."""
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "pentagon", "star", "hexagram")
"""Of classes, which like colours alone would not tell apart."""
WIDE, HIGH = 0.024, 0.045
"""The room that a letter of a name takes in a chart on a narrow screen, and a line, in parts of its sides."""
NAMED_LAYERS = 12
"""Layers whose kinds are written at an axis; of more, only the numbers."""


def depth_profile(found: Depth) -> go.Figure:
    """How far clean and attacked features are apart, stage by stage, beside random noise of the same length."""
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=("Relative L2 distance from the clean features", "Cosine similarity to the clean features"),
    )
    names = ["picture", *[_short(layer.name, layer.kind) for layer in found.layers]]
    details = ["the picture itself", *[layer.label for layer in found.layers]]
    rows = (
        ("attack", ADVERSARIAL, found.attack, found.attack_cosine),
        ("noise", CONTROL, found.noise, found.noise_cosine),
    )
    for name, colour, distance, cosine in rows:
        for row, values in ((1, [found.at_input, *distance.tolist()]), (2, [None, *cosine.tolist()])):
            figure.add_scatter(
                x=names,
                y=values,
                name=name,
                legendgroup=name,
                showlegend=row == 1,
                mode="lines+markers",
                line_color=colour,
                customdata=details,
                hovertemplate="%{customdata}: %{y:.3g}<extra>" + name + "</extra>",
                row=row,
                col=1,
            )
    figure.update_yaxes(rangemode="tozero", row=1, col=1)
    figure.update_xaxes(tickangle=-45, row=2, col=1)
    for note in figure.layout.annotations[:2]:
        note.update(x=0, xanchor="left", font_size=TEXT)
    finish(figure, height=560, legend=True, hovermode="x unified")
    return figure.update_layout(margin={"t": 64}, legend={"y": 1.06, "x": 1, "xanchor": "right"})


@cache
def _colours(scale: str) -> Tensor:
    """A colour scale as 256 colours [256,3] in [0,1]."""
    steps = [k / 255 for k in range(256)]
    return torch.tensor([unlabel_rgb(c) for c in sample_colorscale(scale, steps)]) / 255


def coloured(values: Tensor, scale: str) -> Tensor:
    """Values [...,h,w] in [0,1] as colours [...,3,h,w]."""
    index = (values.nan_to_num().clamp(0, 1) * 255).round().long()
    return _colours(scale)[index].movedim(-1, -3)


def pictures_of(maps: Tensor, *, shared: bool, signed: bool, ends: tuple[float, float]) -> Tensor:
    """Feature maps [n,h,w] as colour pictures [n,3,h,w].

    Args:
        maps: the maps.
        shared: one colour scale for all; else each map spans its own range.
        signed: colours diverge around 0.
        ends: of the scale of maps that are not signed, where it is shared.
    """
    if signed:
        limits = maps.abs().flatten(1).amax(1)
        limits = torch.full_like(limits, float(limits.max())) if shared else limits
        return coloured(maps / limits.clamp(min=TINY).view(-1, 1, 1) / 2 + 0.5, DIVERGING)
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)
    if shared:
        low, high = (torch.full_like(low, end) for end in ends)
    return coloured((maps - low.view(-1, 1, 1)) / (high - low).clamp(min=TINY).view(-1, 1, 1), SEQUENTIAL)


def overlaid(x: Tensor, values: Tensor, limit: float) -> Tensor:
    """Signed values [H,W] in colour over an image [C,H,W] in gray [3,H,W]: the larger a value, the less gray.

    Args:
        x: the image.
        values: what is laid over it.
        limit: the value at the end of the scale.
    """
    strength = (values.abs() / limit).clamp(0, 1).sqrt()
    gray = x.mean(0, keepdim=True).expand(3, -1, -1) * 0.8 + 0.1
    return gray * (1 - strength) + coloured(values / limit / 2 + 0.5, DIVERGING) * strength


def sheet(maps: Tensor, *, shared: bool, signed: bool, limit: float | None = None) -> Tensor:
    """Feature maps [n,h,w] as one picture [3,H,W], row by row, on white.

    Args:
        maps: the maps, in the order in which they are to stand.
        shared: one colour scale for all; else each map spans its own range.
        signed: colours diverge around 0.
        limit: the value at the end of the scale, where it is shared; None for the largest of these maps.
    """
    n, h, w = maps.shape
    columns = max(4, min(8, WIDTH // (w + GAP)))
    size = maps.abs() if signed else maps
    ends = size.flatten(1).amax(1)
    ends = torch.full_like(ends, float(ends.max()) if limit is None else limit) if shared else ends
    starts = torch.zeros_like(ends) if signed else maps.flatten(1).amin(1)
    starts = torch.full_like(starts, float(starts.min())) if shared else starts
    span = (ends - starts).clamp(min=1e-12).view(-1, 1, 1)
    values = maps / span / 2 + 0.5 if signed else (maps - starts.view(-1, 1, 1)) / span
    pictures = coloured(values, DIVERGING if signed else SEQUENTIAL)
    rows = -(-n // columns)
    page = torch.ones(3, rows * (h + GAP) - GAP, columns * (w + GAP) - GAP)
    for k, picture in enumerate(pictures):
        top, left = k // columns * (h + GAP), k % columns * (w + GAP)
        page[:, top : top + h, left : left + w] = picture
    return page


def maps(clean: Tensor, attacked: Tensor) -> go.Figure:
    """One feature map [h,w], clean, attacked and their difference, with values under the pointer."""
    figure = make_subplots(rows=1, cols=3, subplot_titles=("Clean", "Attacked", "Attacked − clean"))
    low, high = _ends(clean, attacked)
    change = attacked - clean
    limit = float(change.abs().max()) or 1.0
    for column, (values, scale, ends) in enumerate(
        ((clean, SEQUENTIAL, (low, high)), (attacked, SEQUENTIAL, (low, high)), (change, DIVERGING, (-limit, limit))), 1
    ):
        figure.add_heatmap(
            z=values.tolist(),
            zmin=ends[0],
            zmax=ends[1],
            colorscale=scale,
            showscale=column > 1,
            colorbar={"orientation": "h", "x": 0.32 if column == 2 else 0.86, "y": -0.02, "yanchor": "top", **BAR},
            hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>",
            row=1,
            col=column,
        )
        axis = "" if column == 1 else str(column)
        figure.update_yaxes(autorange="reversed", scaleanchor=f"x{axis}", visible=False, row=1, col=column)
        figure.update_xaxes(visible=False, constrain="domain", row=1, col=column)
    return finish(figure, height=330).update_layout(margin={"t": 32})


def _ends(a: Tensor, b: Tensor) -> tuple[float, float]:
    low, high = min(float(a.min()), float(b.min())), max(float(a.max()), float(b.max()))
    return low, high if high > low else low + 1


def follow(
    along: Mapping[str, tuple[Sequence[float], Sequence[float]]], axis: str, chosen: float | None = None
) -> go.Figure:
    """A channel's values along a way: name -> (positions, values); each point's customdata is its position.

    Args:
        along: what is drawn.
        axis: what the positions are.
        chosen: the position that is looked at.
    """
    figure = go.Figure()
    for (name, (x, y)), colour in zip(along.items(), (ADVERSARIAL, CONTROL), strict=False):
        figure.add_scatter(x=list(x), y=list(y), customdata=list(x), name=name, mode="lines+markers", line_color=colour)
    if chosen is not None:
        figure.add_vline(x=chosen, line={"color": ADVERSARIAL, "width": 1})
    figure.update_xaxes(title=axis)
    figure.update_yaxes(title="mean activation")
    return finish(figure, height=280, legend=len(along) > 1)


def purity(units: Tensor, directions: Tensor, chance: float) -> go.Figure:
    """How pure the top images are: units beside random directions, and the mean of blind draws."""
    figure = go.Figure()
    for name, values, colour in (("units", units, CLEAN), ("random directions", directions, CONTROL)):
        figure.add_histogram(
            x=values.tolist(),
            name=f"{name} (mean {values.mean():.2f})",
            histnorm="probability",
            xbins={"start": -1 / 16, "end": 1 + 1 / 16, "size": 1 / 8},
            marker_color=colour,
            hovertemplate="%{x}: %{y:.0%}<extra>" + name + "</extra>",
        )
    figure.add_vline(chance, line_dash="dot", line_color=CONTROL)
    figure.update_xaxes(
        title="share of the commonest label among the top 8 pictures", range=[0, 1.07], tickformat=".0%"
    )
    figure.update_yaxes(title="share", tickformat=".0%")
    return finish(figure, height=300, legend=True, barmode="group").update_layout(margin={"t": 40})


def attributions(found: Mapping[str, tuple[Tensor, Tensor]]) -> go.Figure:
    """Attribution maps [H,W] by method, clean above attacked, both on the scale of the method."""
    figure = make_subplots(
        rows=2,
        cols=len(found),
        column_titles=list(found),
        row_titles=["clean", "attacked"],
        horizontal_spacing=0.02,
        vertical_spacing=0.03,
    )
    for column, pair in enumerate(found.values(), 1):
        limit = max(float(t.abs().quantile(0.995)) for t in pair) or 1.0
        for row, values in enumerate(pair, 1):
            figure.add_heatmap(
                z=values.tolist(),
                zmin=-limit,
                zmax=limit,
                colorscale=DIVERGING,
                showscale=False,
                hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>",
                row=row,
                col=column,
            )
            number = (row - 1) * len(found) + column
            anchor = "x" if number == 1 else f"x{number}"
            figure.update_yaxes(autorange="reversed", scaleanchor=anchor, visible=False, row=row, col=column)
            figure.update_xaxes(visible=False, constrain="domain", row=row, col=column)
    return finish(figure, height=560).update_layout(margin={"t": 32, "r": 24})


def _short(name: str, kind: str) -> str:
    """What a stage is called at an axis: as where it is chosen, with its class where its name is but a number."""
    name = name.removeprefix("net.")
    return f"{name} · {kind}" if name.isdigit() else name


def stretches(norms: Sequence[Stretch]) -> go.Figure:
    """The operator norm of each layer."""
    figure = go.Figure()
    few = len(norms) <= NAMED_LAYERS
    figure.add_bar(
        x=[_short(s.name, s.kind) if few else k for k, s in enumerate(norms, 1)],
        y=[s.norm for s in norms],
        marker_color=CLEAN,
        customdata=[f"{s.name.removeprefix('net.')} · {s.kind}" for s in norms],
        hovertemplate="%{customdata}: %{y:.3g}<extra></extra>",
    )
    figure.add_hline(1, line_dash="dot", line_color=CONTROL)
    figure.update_xaxes(tickangle=-45 if few else 0, title=None if few else "layer, in the order of the calls")
    figure.update_yaxes(title="operator norm", type="log" if max(s.norm for s in norms) > 100 else "linear")
    return finish(figure, height=340)


def embedding(found: Embedding, labels: Sequence[int], classes: Sequence[str]) -> go.Figure:
    """The set's features in the plane, coloured by class where there are few, and the attacked picture's way."""
    figure = go.Figure()
    present = sorted(set(labels))
    palette = (CLEAN, TARGET, *OTHERS, "#332288", "#882255")
    if len(present) > len(palette):
        groups = {"pictures; hover for the class": (list(range(len(labels))), CONTROL)}
    else:
        groups = {
            classes[k]: ([i for i, label in enumerate(labels) if label == k], colour)
            for k, colour in zip(present, palette, strict=False)
        }
    for n, (name, (rows, colour)) in enumerate(groups.items()):
        figure.add_scatter(
            x=found.points[rows, 0].tolist(),
            y=found.points[rows, 1].tolist(),
            mode="markers",
            name=name,
            marker={"color": colour, "size": 8, "opacity": 0.6, "symbol": SYMBOLS[n % len(SYMBOLS)]},
            customdata=[classes[labels[i]] for i in rows],
            hovertemplate="%{customdata}<extra></extra>",
        )
    if len(present) > len(palette):
        places = _free(found.points, labels, classes)
        figure.add_scatter(
            x=[x for x, _ in places.values()],
            y=[y for _, y in places.values()],
            mode="text",
            text=[classes[k] for k in places],
            textposition="top center",
            textfont_size=TEXT,
            hoverinfo="skip",
            showlegend=False,
        )
    figure.add_scatter(
        x=found.path[:, 0].tolist(),
        y=found.path[:, 1].tolist(),
        mode="lines+markers",
        name="the attack's path",
        line={"color": ADVERSARIAL, "width": 3},
        marker={"size": [12, *[5] * (len(found.path) - 2), 14], "symbol": [*["circle"] * (len(found.path) - 1), "x"]},
        hovertemplate="picture %{pointNumber}<extra>the attack's path</extra>",
    )
    figure.update_xaxes(title=f"first direction ({found.explained[0]:.0%} of the variance)", zeroline=False)
    figure.update_yaxes(title=f"second ({found.explained[1]:.0%})", zeroline=False)
    finish(figure, height=520, legend=True)
    return figure.update_layout(margin={"t": 84})


def _free(points: Tensor, labels: Sequence[int], classes: Sequence[str]) -> dict[int, tuple[float, float]]:
    """Places above the dots [N,2] of a label where its name covers no other; labels without such are left out."""
    width, height = (points.amax(0) - points.amin(0)).tolist()
    places: dict[int, tuple[float, float]] = {}
    for label in sorted(set(labels)):
        own = points[[i for i, other in enumerate(labels) if other == label]]
        x, y = float(own[:, 0].median()), float(own[:, 1].max())
        room = {other: WIDE * width * (len(classes[label]) + len(classes[other])) / 2 for other in places}
        if all(abs(x - a) > room[k] or abs(y - b) > HIGH * height for k, (a, b) in places.items()):
            places[label] = x, y
    return places
