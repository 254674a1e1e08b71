"""Figures of CLEVER: scores by target, the fitted distribution, and how the score settles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from scipy import stats

from lab.experiments.clever.score import Clever
from lab.figures.attack import NORM_NAMES
from lab.figures.style import ADVERSARIAL, CLEAN, CONTROL, TARGET, finish

BINS = 24


def by_target(
    result: Clever, classes: Sequence[str], reached: Mapping[str, float], exact: float | None = None
) -> go.Figure:
    """The score of each target as bars, the nearest on top; the distances that attacks found as lines across.

    Args:
        result: of one image.
        classes: names of all classes.
        reached: distances that attacks found, by their names.
        exact: the exact distance, where it is known.
    """
    scores, targets, norm = result.by_target[0].tolist(), result.targets[0].tolist(), result.sampling.norm
    order = sorted(range(len(scores)), key=lambda t: -scores[t])
    figure = go.Figure()
    figure.add_bar(
        y=[classes[targets[t]] for t in order],
        x=[_scaled(scores[t], norm) for t in order],
        orientation="h",
        marker_color=[ADVERSARIAL if t == order[-1] else CLEAN for t in order],
        text=[written(scores[t], norm) + (" (radius)" if scores[t] >= result.sampling.radius else "") for t in order],
        textposition="inside",
        insidetextanchor="start",
        customdata=[(result.p_value[0, t].item(),) for t in order],
        hovertemplate="%{y}: %{x:.4g}<br>p-value of the fit: %{customdata[0]:.2g}<extra></extra>",
        showlegend=False,
    )
    lines = {name: (d, "dash") for name, d in reached.items() if math.isfinite(d)}
    colours = dict(zip(lines, ("#E69F00", "#CC79A7", "#56B4E9", CONTROL), strict=False))
    for name, (distance, dash) in lines.items():
        _line(figure, _scaled(distance, norm), f"{name}: {written(distance, norm)}", colours[name], dash)
    if exact is not None:
        _line(figure, _scaled(exact, norm), f"exact: {written(exact, norm)}", TARGET, "solid")
    unit = " (n/255)" if norm == "linf" else ""
    figure.update_xaxes(title=f"distance in {NORM_NAMES[norm]}{unit}", rangemode="tozero")
    figure.update_yaxes(type="category")
    height = 130 + 30 * len(order) + 22 * ((len(lines) + 2) // 3)
    return finish(figure, height=height, legend=True).update_layout(margin={"t": 30 + 22 * ((len(lines) + 2) // 3)})


def _line(figure: go.Figure, at: float, name: str, colour: str, dash: str) -> None:
    figure.add_vline(x=at, line={"color": colour, "width": 2, "dash": dash})
    figure.add_scatter(x=[None], y=[None], mode="lines", name=name, line={"color": colour, "dash": dash})


def _scaled(distance: float, norm: str) -> float:
    return distance * 255 if norm == "linf" else distance


def written(distance: float, norm: str) -> str:
    """A distance for a person."""
    return f"{distance * 255:.3g}/255" if norm == "linf" else f"{distance:.3g}"


def fit(result: Clever, target: int) -> go.Figure:
    """The maxima of the batches as a histogram, with the fitted density and the estimated endpoint.

    Args:
        result: of one image.
        target: the column.
    """
    maxima = result.maxima[0, target].double().numpy()
    location, shape, scale = (float(v[0, target]) for v in (result.location, result.shape, result.scale))
    figure = go.Figure()
    figure.add_histogram(
        x=maxima,
        nbinsx=BINS,
        histnorm="probability density",
        marker_color=CONTROL,
        name=f"largest of each of {len(maxima)} batches",
        hovertemplate="%{x}: density %{y:.3g}<extra></extra>",
    )
    if math.isfinite(shape) and scale > 0:
        spread = max(location - maxima.min(), 1e-9)
        at = np.linspace(maxima.min() - 0.15 * spread, location, 300, endpoint=False)  # where it may be infinite
        density = stats.weibull_max.pdf(at, shape, location, scale)
        figure.add_scatter(
            x=at, y=density, mode="lines", line={"color": CLEAN, "width": 3}, name="fitted reverse Weibull"
        )
    figure.add_vline(x=location, line={"color": ADVERSARIAL, "width": 3})
    figure.add_scatter(
        x=[None], y=[None], mode="lines", line={"color": ADVERSARIAL, "width": 3}, name=f"endpoint: {location:.4g}"
    )
    what = "norm of the margin's gradient" if result.sampling.order == 1 else "curvature of the margin"
    figure.update_xaxes(title=f"largest {what} in a batch of {result.sampling.samples}")
    figure.update_yaxes(title="density")
    return finish(figure, height=380, legend=True).update_layout(margin={"t": 48})


def convergence(counts: Sequence[int], scores: Sequence[float], norm: str, best: float | None) -> go.Figure:
    """The score from the first so many batches alone, and the smallest distance that an attack result."""
    figure = go.Figure()
    figure.add_scatter(
        x=list(counts),
        y=[_scaled(s, norm) for s in scores],
        mode="lines+markers",
        line={"color": CLEAN, "width": 3},
        name="CLEVER",
        hovertemplate="%{x} batches: %{y:.4g}<extra></extra>",
    )
    if best is not None:
        figure.add_hline(y=_scaled(best, norm), line={"color": ADVERSARIAL, "width": 2, "dash": "dash"})
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="lines",
            line={"color": ADVERSARIAL, "dash": "dash"},
            name=f"smallest distance that an attack found: {written(best, norm)}",
        )
    unit = " (n/255)" if norm == "linf" else ""
    figure.update_xaxes(title="batches", type="log", tickvals=list(counts), ticktext=[str(c) for c in counts])
    figure.update_yaxes(title=f"score, {NORM_NAMES[norm]}{unit}", rangemode="tozero")
    return finish(figure, height=360, legend=True).update_layout(margin={"t": 48})
