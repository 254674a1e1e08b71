"""The tab that varies one parameter of the attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from lab.experiments.papers.experiment import provenance, published
from lab.experiments.transfer.matrix import Matrix
from lab.experiments.transfer.sweep import Point, sweep
from lab.figures import transfer as figures
from lab.progress import Progress
from lab.ui.pages.transfer.setup import NAME, Setup
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

Lines = Mapping[str, tuple[Point, ...]]
"""Points of each attack, by its name."""


@dataclass(frozen=True)
class Sweep:
    """What is varied.

    Attributes:
        param: the parameter that varies.
        axis: what it is called in the chart.
        values: that it takes; of epsilon: times the chosen one.
        attacks: keys of attacks with their own parameters, by the name of the line.
    """

    param: str
    axis: str
    values: tuple[float, ...]
    attacks: Mapping[str, tuple[str, Mapping[str, Any]]]


BOTH: Mapping[str, tuple[str, Mapping[str, Any]]] = {"I-FGSM": ("bim", {}), "MI-FGSM": ("mi_fgsm", {})}
STORED = (("plain", "bim"), ("momentum", "mi_fgsm"))
"""Names in how.md of what `lab reproduce momentum` measured."""
FIRST = "{}/cnn_half_a"
"""The source to begin with, by task: one whose images are worse elsewhere the longer they are worked on."""
SWEEPS = {
    "Iterations": Sweep("steps", "iterations", (1, 2, 4, 6, 8, 10, 15, 20), BOTH),
    "Momentum": Sweep("momentum", "momentum μ", (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2), {"MI-FGSM": ("mi_fgsm", {})}),
    "Input diversity": Sweep(
        "diversity",
        "probability of shrinking and shifting",
        (0, 0.25, 0.5, 0.75, 1),
        {"DI-FGSM": ("di_fgsm", {}), "with momentum": ("di_fgsm", {"momentum": 1.0})},
    ),
    "Epsilon": Sweep("eps", "epsilon (n/255)", (0.25, 0.5, 0.75, 1, 1.5, 2), BOTH),
}
"""The sweeps by name; the section of how.md of that name says what papers report and what holds here."""


def sweeps(setup: Setup, result: Matrix) -> None:
    """Success on other models as one parameter of the attack varies."""
    ask = Ask(NAME)
    left, right = st.columns(2)
    first = FIRST.format(setup.task)
    with left:
        varied = ask.segment("vary", "Vary", SWEEPS, "Iterations", width="content")
    with right:
        source = ask.select(
            "sweep_source",
            "Source",
            setup.models,
            first if first in setup.models else setup.models[0],
            format_func=setup.names.__getitem__,
        )
    asked = SWEEPS[varied]

    def work(progress: Progress) -> Iterator[Lines]:
        models = cache.models(setup.models, progress.part(0.0, 0.1))
        data = cache.first_images(setup.models, setup.count)
        scale = setup.eps if asked.param == "eps" else 1
        lines: Lines = dict.fromkeys(asked.attacks, ())
        for k, (name, (attack, own)) in enumerate(asked.attacks.items()):
            part = progress.part(0.1 + 0.9 * k / len(lines), 0.1 + 0.9 * (k + 1) / len(lines))
            given = {"eps": setup.eps, "steps": setup.steps, **own}
            for points in sweep(
                source,
                models,
                data.x,
                data.y,
                attack,
                asked.param,
                [scale * value for value in asked.values],
                seed=setup.seed,
                progress=part,
                **given,
            ):
                lines = {**lines, name: points}
                yield lines

    label = f"Varying {varied.lower()} on {setup.names[source]}"

    def live(so_far: Lines) -> None:
        _draw(setup, so_far, asked, "sweep_live")

    lines = answer("sweep", (setup, varied, source), label, work, live)
    if lines:
        how = prose(NAME, "The sweep", source=setup.names[source], others=len(setup.models) - 1)
        _draw(setup, lines, asked, "sweep", f"{how} {prose(NAME, varied, **_momentum(lines))}")


def _momentum(lines: Lines) -> Mapping[str, str]:
    """What momentum gains on the other models: in this chart, where it has both lines; on photographs, as stored."""
    figures = published("momentum")
    told = {name: f"{figures[f'{attack}: success on the models never touched'].value:.0%}" for name, attack in STORED}
    told |= {"measured": provenance("momentum"), "gains": ""}
    if all(lines.get(name) for name in BOTH):  # a run that was stopped may have but one
        gains = [100 * (m.targets - i.targets) for i, m in zip(lines["I-FGSM"], lines["MI-FGSM"], strict=False)]
        told["gains"] = prose(NAME, "What momentum gains", low=f"{min(gains):+.0f}", high=f"{max(gains):+.0f}")
    return told


def _draw(setup: Setup, lines: Lines, asked: Sweep, key: str, how: str = "") -> None:
    values = asked.values
    if asked.param == "eps":
        values = tuple(255 * setup.eps * value for value in values)
        lines = {name: tuple(replace(p, at=255 * p.at) for p in points) for name, points in lines.items()}
    show_chart(figures.sweep(lines, asked.axis, values), key, how)
