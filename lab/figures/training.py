"""Figures of a training: accuracy while it goes on, and what the first layer has learned."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from torch import Tensor, nn

from lab.figures.representations import coloured, sheet
from lab.figures.style import ADVERSARIAL, CLEAN, CONTROL, DIVERGING, OTHERS, TARGET, finish
from lab.training.fit import Epoch

LINES = (
    ("clean", "clean", CLEAN, "solid", "circle"),
    ("fgsm", "under FGSM", OTHERS[0], "dash", "diamond"),
    ("robust", "under PGD", ADVERSARIAL, "solid", "x"),
)
"""What is measured after an epoch: its name in `Epoch.validation`, its name for a person, and how its line looks."""
FILTERS = 32
"""Filters of a sheet, at most."""


def progress(
    epochs: Sequence[Epoch], of: int, *, waiting: str = "", beside: tuple[str, Sequence[Epoch]] | None = None
) -> go.Figure:
    """Accuracy on held images against epochs: clean, under FGSM and under PGD.

    Args:
        epochs: those that are done.
        of: how many there are to be.
        waiting: what is said in the middle of the chart while it is empty.
        beside: the name of another training, and its epochs, of which the accuracy under PGD is drawn, too.
    """
    figure = go.Figure()
    if beside is not None:
        name, others = f"under PGD, {beside[0]}", beside[1]
        figure.add_scatter(
            x=[e.number for e in others],
            y=[e.validation["robust"] for e in others],
            mode="lines+markers",
            name=name,
            line={"color": TARGET, "dash": "dot", "width": 3},
            marker={"symbol": "square", "size": 7},
            hovertemplate="epoch %{x}: %{y:.1%}<extra>" + name + "</extra>",
        )
    for key, name, colour, dash, symbol in LINES:
        figure.add_scatter(
            x=[e.number for e in epochs],
            y=[e.validation[key] for e in epochs],
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": dash, "width": 3},
            marker={"symbol": symbol, "size": 9},
            hovertemplate="epoch %{x}: %{y:.1%}<extra>" + name + "</extra>",
        )
    if not epochs:
        figure.add_annotation(text=waiting, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=18)
    ticks = {"dtick": 1} if of <= 20 else {}
    figure.update_xaxes(title="epoch", range=[0.7, of + 0.3], gridcolor=CONTROL, showgrid=False, **ticks)
    figure.update_yaxes(title="held-out images classified correctly", range=[0, 1.03], tickformat=".0%")
    return finish(figure, height=360, legend=True).update_layout(margin={"t": 40})


def signed(delta: Tensor, eps: float) -> Tensor:
    """A perturbation [C,H,W] as a picture [3,H,W]: channels averaged, diverging colours that end at -eps and eps."""
    return coloured(delta.mean(0) / (2 * eps) + 0.5, DIVERGING)


def filters(net: nn.Module) -> Tensor:
    """What the first layer looks for, as a picture [3,H,W]: the strongest filters first, on one diverging scale.

    Of a convolution its kernels, channels averaged; of a linear layer its rows, as square images.
    """
    weight = first_layer(net).weight.detach().cpu()
    maps = weight.mean(1) if weight.dim() == 4 else weight.view(len(weight), round(weight.shape[1] ** 0.5), -1)
    order = maps.flatten(1).norm(dim=1).argsort(descending=True)[:FILTERS]
    return sheet(maps[order], shared=True, signed=True)


def first_layer(net: nn.Module) -> nn.Conv2d | nn.Linear:
    """The first convolution or linear layer of a net."""
    return next(m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
