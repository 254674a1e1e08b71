"""Figures of attacks on a black box."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lab.experiments.blackbox.curves import Copied, QueryCurve
from lab.figures.style import ADVERSARIAL, CLEAN, CONTROL, OTHERS, TARGET, finish


def rounds(copied: Sequence[Copied], budget: int, more: bool = False) -> go.Figure:
    """What the copy is worth after each round, against the labels asked so far.

    Args:
        copied: the rounds so far.
        budget: labels that may be asked.
        more: whether more rounds are to come.
    """
    figure = go.Figure()
    asked = [c.round.queries for c in copied]
    lines: tuple[tuple[str, str, list[float | None]], ...] = (
        ("agrees with the oracle", CLEAN, [c.score.agreement for c in copied]),
        ("FGSM examples fool it", ADVERSARIAL, [c.score.fgsm for c in copied]),
        ("JSMA examples fool it", TARGET, [c.score.jsma for c in copied]),
        ("noise of FGSM's size fools it", CONTROL, [c.score.noise for c in copied]),
    )
    for name, colour, values in lines:
        if any(v is not None for v in values):
            figure.add_scatter(
                x=asked,
                y=values,
                name=name,
                mode="lines+markers",
                line={"color": colour, "dash": "dot" if colour == CONTROL else "solid"},
                hovertemplate="%{x:,} queries: %{y:.1%}<extra>" + name + "</extra>",
            )
    figure.update_xaxes(
        title="labels asked of the oracle", type="log", tickvals=asked, ticktext=[f"{q:,}" for q in asked]
    )
    if more and asked:  # the axis is to stay while further rounds come
        figure.update_xaxes(range=[math.log10(max(1, q)) for q in (0.97 * asked[0], 1.03 * budget)])
    figure.update_yaxes(title="share of the test images", range=[0, 1.03], tickformat=".0%")
    if asked and asked[-1] < budget:
        figure.add_annotation(
            text=f"budget: {budget:,}", xref="paper", yref="paper", x=1, y=0.02, showarrow=False, font_color=CONTROL
        )
    return finish(figure, height=380, legend=True).update_layout(margin={"t": 56})


def queries(curves: Sequence[QueryCurve], names: Mapping[str, str]) -> go.Figure:
    """Success against queries: first the copy, which asks once for all, then attacks that ask for every image."""
    figure = go.Figure()
    styles = dict(zip(names, (ADVERSARIAL, TARGET, OTHERS[0], CLEAN), strict=False))
    for each in curves:
        figure.add_scatter(
            x=[max(1, q) for q in each.queries],
            y=list(each.success),
            name=names[each.attack],
            mode="lines+markers" if each is curves[0] else "lines",
            line={"shape": "hv", "color": styles[each.attack]},
            hovertemplate="%{x:,} queries: %{y:.0%}<extra>" + names[each.attack] + "</extra>",
        )
    figure.update_xaxes(title="queries for all these images together", type="log")
    figure.update_yaxes(title="images fooled", range=[0, 1.03], tickformat=".0%")
    return finish(figure, height=360, legend=True).update_layout(margin={"t": 56})
