"""What the CLEVER page asks, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from lab.experiments.clever.distances import LARGE_IMAGE
from lab.experiments.clever.estimate import Estimate
from lab.experiments.clever.score import PAPER, QUICK, Sampling
from lab.ui.parts.scenario import Aim, Subject
from lab.ui.parts.shared import shared
from lab.ui.shell.ask import Ask

NAME = "clever"
NORMS = ("l1", "l2", "linf")
RADII: Mapping[str, float] = {"l1": 40.0, "l2": 5.0, "linf": 25.5}
"""Radius of the ball to begin with; in L-infinity in 255ths."""
BUDGETS: Mapping[str, Mapping[str, int]] = {"Quick": QUICK, "Paper": PAPER, "Own": QUICK}
QUICK_LARGE = {"batches": 16, "samples": 8}
"""The quick budget for large images."""
ALL_CLASSES = 20
"""Classes up to which all are scored."""
LIKELIEST = 5
"""How many classes are scored where there are more than that: the most probable."""
MINUTES = 100_000
"""Points from which the page warns that it takes minutes."""


@dataclass(frozen=True)
class Setup:
    """What the scores of one image depend on."""

    subject: Subject
    aim: Aim
    sampling: Sampling

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.subject.card.classes

    @property
    def norm(self) -> str:
        """The norm in which the distance is measured."""
        return self.sampling.norm


def choose(ask: Ask) -> Setup | None:
    """Draws the settings; None where model, picture or goal cannot be used."""
    common = shared()
    subject, aim = common.subject, common.aim
    if subject is None or aim is None:
        return None
    with common.place:
        sampling = _sampling(ask, subject.x.numel() > LARGE_IMAGE, aim.seed)
    return Setup(subject, aim, sampling)


def _sampling(ask: Ask, large: bool, seed: int) -> Sampling:
    norm = ask.norm(NORMS, "l2", "The norm in which the distance is measured; the gradients are measured in its dual.")
    budget = ask.segment(
        "budget",
        "Budget",
        BUDGETS,
        "Quick",
        help="How many batches of points are drawn around the picture, and how many points each has.",
    )
    batches, samples = (QUICK_LARGE if large and budget != "Paper" else BUDGETS[budget]).values()
    if budget == "Own":
        left, right = st.columns(2)
        with left:
            batches = ask.whole("batches", "Batches", 10, 1000, max(10, batches))
        with right:
            samples = ask.whole("samples", "Samples", 2, 4096, max(2, samples))
    radius = ask.epsilon(
        RADII[norm],
        name=f"radius_{norm}",
        norm=norm,
        label="Radius",
        low=0.1,
        help="Of the ball that is sampled; no score is larger.",
    )
    second = norm == "l2" and ask.toggle(
        "second",
        "Second order",
        help="From the gradient at the picture and the largest curvature around it: for smooth networks without ReLU, "
        "such as the RBF net.",
    )
    st.caption(f"{batches:,} batches of {samples:,} points")
    if batches * samples * (20 if large else 1) > MINUTES:
        st.caption("This takes minutes on a CPU; it can be stopped, and then shows what it has so far.")
    return Sampling(norm, batches, samples, radius, seed, 2 if second else 1)


def score_of(result: Estimate) -> float:
    """The untargeted score."""
    return float(result.clever.scores[0])


def nearest_target(result: Estimate) -> int:
    """The column of the target with the smallest score."""
    return int(result.clever.by_target[0].argmin())


def target_name(result: Estimate, column: int) -> str:
    """The name of a target's class."""
    return result.classes[int(result.clever.targets[0, column])]


def pick_target(result: Estimate, name: str) -> int:
    """Draws the choice of the target that a tab is about, the nearest to begin with; its column."""
    order = result.clever.by_target[0].argsort(stable=True).tolist()
    return int(
        Ask(NAME).select(name, "Other class", order, order[0], format_func=lambda column: target_name(result, column))
    )
