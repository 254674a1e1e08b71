"""Figures of defenses: what they are worth under attackers who know ever more, detectors, and certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from lab.defenses.detect import Roc
from lab.defenses.smoothing import Certified
from lab.experiments.defenses.attackers import Detection, Trial
from lab.figures.common import histogram, roc
from lab.figures.style import ADVERSARIAL, CLEAN, CONTROL, OTHERS, TARGET, finish
from lab.statistics import wilson

ATTACKERS = {
    "none": "no attack",
    "oblivious": "unaware",
    "naive": "naive",
    "adaptive": "aware",
    "any": "best of all",
}
"""Attackers, for a person, by what they know of the defense."""
FOOLING = (ADVERSARIAL, OTHERS[2], TARGET, *OTHERS)
"""Colours of the attackers of a detector, in order."""


def worth(trials: Sequence[Trial], y: Tensor, more: bool = False) -> go.Figure:
    """Accuracy under each attacker, without the defense and behind it, with 95% intervals.

    Args:
        trials: of the attackers so far.
        y: classes of the images [N].
        more: whether some are still to come, for whom there is to be room.
    """
    figure, names = go.Figure(), [ATTACKERS[t.attacker] for t in trials]
    aimed = [t for t in trials if t.attacker in ("none", "oblivious")]  # the others' images are not made for it
    plain, kept = [t.undefended(y) for t in aimed], [t.accuracy(y) for t in trials]
    for name, colour, values in (("without the defense", CONTROL, plain), ("behind it", TARGET, kept)):
        ends = [wilson(round(v * len(y)), len(y)) for v in values]
        figure.add_bar(
            x=names[: len(values)],
            y=values,
            name=name,
            marker_color=colour,
            offsetgroup=name,
            error_y={
                "array": [high - v for v, (_, high) in zip(values, ends, strict=True)],
                "arrayminus": [v - low for v, (low, _) in zip(values, ends, strict=True)],
                "thickness": 1,
            },
            hovertemplate="%{y:.1%}<extra>" + name + "</extra>",
        )
        figure.add_scatter(
            x=names[: len(values)],
            y=[high for _, high in ends],
            mode="text",
            text=[f"{v:.0%}" for v in values],
            textposition="top center",
            offsetgroup=name,
            showlegend=False,
            hoverinfo="skip",
        )
    _room_for_all(figure, more)
    figure.update_yaxes(title="images classified correctly", range=[0, 1.12], tickformat=".0%")
    return finish(figure, height=400, legend=True, barmode="group", scattermode="group").update_layout(margin={"t": 40})


def shares(trials: Sequence[Trial], y: Tensor, more: bool = False) -> go.Figure:
    """Under each attacker: the shares of the images that are classed right and let in, rejected, and let in wrong.

    Args:
        trials: of the attackers so far.
        y: classes of the images [N].
        more: whether some are still to come, for whom there is to be room.
    """
    figure, names = go.Figure(), [ATTACKERS[t.attacker] for t in trials]
    parts = (
        ("accepted and classified correctly", CLEAN, [((t.seen == y) & ~t.flagged) for t in trials]),
        ("rejected", CONTROL, [t.flagged for t in trials]),
        ("accepted and misclassified", ADVERSARIAL, [((t.seen != y) & ~t.flagged) for t in trials]),
    )
    for name, colour, masks in parts:
        values = [float(mask.double().mean()) for mask in masks]
        figure.add_bar(
            x=names,
            y=values,
            name=name,
            marker_color=colour,
            text=[f"{v:.0%}" if v >= 0.06 else "" for v in values],
            textposition="inside",
            textangle=0,
            hovertemplate="%{y:.1%}<extra>" + name + "</extra>",
        )
    _room_for_all(figure, more)
    figure.update_yaxes(title="images", range=[0, 1.01], tickformat=".0%")
    return finish(figure, height=400, legend=True, barmode="stack").update_layout(margin={"t": 40})


def _room_for_all(figure: go.Figure, more: bool) -> None:
    """Fixes the axis with room for every attacker, where some are still to come."""
    if more:
        names = list(ATTACKERS.values())
        figure.update_xaxes(categoryorder="array", categoryarray=names, range=[-0.5, len(names) - 0.5])


def suspicion(detection: Detection, unit: str) -> go.Figure:
    """Histograms of the scores of held-out clean images and of those that fool the model, with the threshold.

    Args:
        detection: the detector at work.
        unit: what its score is.
    """
    groups: list[tuple[str, str, Tensor]] = [("clean", CLEAN, detection.held)]
    for attacker, colour in zip(("oblivious", "adaptive"), FOOLING, strict=False):
        trial = next((t for t in detection.trials if t.attacker == attacker), None)
        if trial is not None and trial.scores is not None:
            groups.append((f"{ATTACKERS[attacker]} attacker, fooling", colour, trial.scores[trial.seen != detection.y]))
    return histogram(groups, detection.limit, f"score: {unit}")


def characteristic(curves: Mapping[str, Roc], false: float) -> go.Figure:
    """ROC curves by name, with the false-positive rate that the threshold has on clean images."""
    return roc(curves, false, FOOLING)


def certified(
    certificates: Mapping[str, Certified], y: Tensor, empirical: Mapping[str, Sequence[tuple[float, float]]], cap: float
) -> go.Figure:
    """Certified accuracy against the L2 radius; beside it what is left under an attack, which can only be more.

    Args:
        certificates: certificates of the first images, by name.
        y: classes of all images [N].
        empirical: pairs of radius and accuracy, by attacker, two at most.
        cap: the largest radius that this many looks can certify.
    """
    figure = go.Figure()
    radii = np.linspace(0, cap * 1.05, 120)
    for (name, each), colour in zip(certificates.items(), (CLEAN, CONTROL, *OTHERS), strict=False):
        n = len(each.classes)
        figure.add_scatter(
            x=radii,
            y=[each.accuracy(y[:n], r) for r in radii],
            mode="lines",
            line={"shape": "hv", "color": colour, "width": 3},
            name=f"certain: {name}",
            hovertemplate="within %{x:.2f}: %{y:.1%}<extra>certain, " + name + "</extra>",
        )
    styles = ((OTHERS[0], "circle-open"), (ADVERSARIAL, "x"))
    for (name, points), (colour, symbol) in zip(empirical.items(), styles, strict=False):
        figure.add_scatter(
            x=[r for r, _ in points],
            y=[a for _, a in points],
            error_y={
                "array": [wilson(round(a * len(y)), len(y))[1] - a for _, a in points],
                "arrayminus": [a - wilson(round(a * len(y)), len(y))[0] for _, a in points],
                "thickness": 1,
            },
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            name=f"under attack, {name}",
            hovertemplate="at %{x:.2f}: %{y:.1%}<extra>" + name + " attacker</extra>",
        )
    figure.add_vline(
        x=cap,
        line={"dash": "dash", "width": 1},
        annotation_text=f"at most {cap:.2f}",
        annotation_position="bottom right",
    )
    furthest = max([cap, *(r for points in empirical.values() for r, _ in points)])
    figure.update_xaxes(title="L2 radius", range=[-0.02 * furthest, 1.05 * furthest])
    figure.update_yaxes(title="images classified correctly", range=[0, 1.03], tickformat=".0%")
    return finish(figure, height=400, legend=True).update_layout(margin={"t": 60})


def votes(counts: Tensor, classes: Sequence[str]) -> go.Figure:
    """How often each class was named over the noisy copies of one image."""
    share = (counts.double() / counts.sum()).tolist()
    figure = go.Figure()
    figure.add_bar(
        y=list(classes),
        x=share,
        orientation="h",
        marker_color=CLEAN,
        text=[f"{s:.1%}" if s else "" for s in share],
        hovertemplate="%{y}: %{x:.2%}<extra></extra>",
    )
    figure.update_xaxes(title="share of the looks", range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(type="category", autorange="reversed")
    return finish(figure, height=90 + 24 * len(classes))
