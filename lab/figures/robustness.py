"""Figures of robustness: accuracy against the size of the perturbation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lab.experiments.robustness.curves import Outcome
from lab.figures.attack import NORM_NAMES
from lab.figures.common import add_accuracy
from lab.figures.style import ADVERSARIAL, CLEAN, DASHES, OTHERS, TARGET, finish

COLOURS = (CLEAN, ADVERSARIAL, TARGET, *OTHERS)


def curves(outcomes: Sequence[Outcome], names: Mapping[str, str], attacks: Mapping[str, str]) -> go.Figure:
    """A line for each model (colour) and attack (dash), with bars for the 95% intervals.

    Args:
        outcomes: what was measured.
        names: of all models, by their names in the outcomes.
        attacks: names of all attacks, by key.
    """
    colours = {model: COLOURS[k % len(COLOURS)] for k, model in enumerate(names)}
    dashes = {key: DASHES[k % len(DASHES)] for k, key in enumerate(attacks)}
    pixels = bool(outcomes) and outcomes[0].norm == "linf"
    figure = go.Figure()
    for o in outcomes:
        name = f"{names[o.model]}, {attacks[o.attack]}" if len(attacks) > 1 else names[o.model]
        add_accuracy(figure, o, name, colours[o.model], dashes[o.attack])
    norm = NORM_NAMES[outcomes[0].norm] if outcomes else ""
    top = max((255 if pixels else 1) * eps for o in outcomes for eps in o.eps) if outcomes else 1
    figure.update_xaxes(title=f"epsilon, {norm}" + (" (n/255)" if pixels else ""), range=[-0.02 * top, 1.02 * top])
    figure.update_yaxes(title="images classified correctly", range=[0, 1.03], tickformat=".0%")
    lines = 22 * ((len(names) * len(attacks) + 1) // 2)  # with those to come, so that nothing moves when they do
    return finish(figure, height=400 + lines, legend=True).update_layout(margin={"t": 20 + lines})
