"""The CLEVER page: an estimated lower bound beside what attacks find, and whether it is to be believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import streamlit as st
import torch
from torch import Tensor

from lab.experiments.clever.distances import Reached, nearest, reached
from lab.experiments.clever.estimate import Estimate
from lab.experiments.clever.score import DOUBT, score
from lab.figures import clever as figures
from lab.figures.attack import NORM_NAMES
from lab.figures.clever import written
from lab.models.catalog import name_elsewhere
from lab.predict import logits_of
from lab.progress import Progress
from lab.ui.pages.clever.convergence import convergence
from lab.ui.pages.clever.fails import fails
from lab.ui.pages.clever.fit import fit
from lab.ui.pages.clever.setup import (
    ALL_CLASSES,
    LIKELIEST,
    NAME,
    Setup,
    choose,
    nearest_target,
    score_of,
    target_name,
)
from lab.ui.parts.result import known_attack
from lab.ui.parts.shared import last_scenario
from lab.ui.parts.show import show_chart, show_image
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.words import name_of

FEW = 10
"""Batches below which no endpoint is told."""
ALIKE = 1e-4
"""Share by which lengths of gradients may differ in a linear network, by rounding."""


def compute(setup: Setup, progress: Progress) -> Iterator[Estimate]:
    """The scores; of work that was stopped, from the batches that there are."""
    subject = setup.subject
    model = cache.model(subject.model, progress.part(0.0, 0.05))
    targets = _targets(logits_of(model, subject.x)[0], setup.aim.target)
    scores = score(model, subject.x, setup.sampling, targets, progress.part(0.05, 1.0))
    if len(scores.scores):
        yield Estimate(scores, subject.model, subject.dataset, (subject.image,), setup.classes)


def _targets(logits: Tensor, goal: int | None) -> Tensor | None:
    """Classes to score: all where they are few, else the most probable ones and the goal; None for all."""
    if len(logits) <= ALL_CLASSES:
        return None
    seen, *others = logits.argsort(descending=True).tolist()
    chosen = others[:LIKELIEST]
    return torch.tensor([chosen if goal is None or goal in (seen, *chosen) else [*chosen, goal]])


def with_attacks(setup: Setup, result: Estimate) -> Estimate:
    """The scores beside the smallest distortions that attacks find, as far as these are there."""
    subject, seed = setup.subject, setup.aim.seed

    def work(progress: Progress) -> Iterator[tuple[Reached, ...]]:
        model = cache.model(subject.model, progress.part(0.0, 0.05))
        distances: tuple[Reached, ...] = ()
        for one in reached(model, subject.x, setup.norm, seed=seed, progress=progress.part(0.05, 1.0)):
            distances = (*distances, one)
            yield distances

    key = (subject, setup.norm, seed)
    distances = answer("distances", key, "Searching for the smallest distortion", work, lane="distances")
    return replace(result, attacks=distances or ())


def show(setup: Setup, result: Estimate) -> None:
    """The verdict, what speaks against it, and the scores beside the attacks."""
    st.markdown(f"### {sentence(setup, result)}")
    st.caption(prose(NAME, "The estimate"))
    _warn(setup, result)
    if result.clever.maxima.shape[2] < FEW:
        return
    exact = _exact(result)
    how = [prose(NAME, "The scores")]
    if len(setup.classes) > ALL_CLASSES:
        how.append(f"Of {len(setup.classes):,} classes, the most probable are scored.")
    if exact:
        how.append("Within the radius the network is linear: the exact distance, pixels' range left aside, is known.")
    left, right = st.columns([1, 4])
    with left:
        show_image(setup.subject.x[0], "the picture")
        st.caption(f"Seen as {_seen(result)}.")
    with right:
        distances = {name_of(each.attack): each.distance for each in result.attacks}
        if (own := _made_elsewhere(setup)) is not None:
            name, distance, sees = own
            distances[f"{name}, as made"] = distance
            how.append(
                f"{name}, as made on the Attack page, moved the picture by {written(distance, setup.norm)}; the model "
                f"sees {sees}."
            )
        show_chart(figures.by_target(result.clever, setup.classes, distances, exact), "scores", " ".join(how))


def _made_elsewhere(setup: Setup) -> tuple[str, float, str] | None:
    """The attack that other pages look at, where it fools the model: its name, how far it moved, and what is seen."""
    scenario = last_scenario(setup.subject)
    run = None if scenario is None else known_attack(scenario)
    if run is None or not run.success:
        return None
    return run.spec.name, float(run.result.distance[setup.norm][0]), run.attacked_name


def sentence(setup: Setup, result: Estimate) -> str:
    """What was estimated and what attacks found, with numbers; no estimate from fewer than FEW batches."""
    if (batches := result.clever.maxima.shape[2]) < FEW:
        return f"No estimate from {batches} of {setup.sampling.batches} batches: it takes at least {FEW}."
    norm, best = setup.norm, nearest(result.attacks)
    name, size = setup.subject.card.name, written(score_of(result), norm)
    part = "" if result.clever.complete else f"From the first {batches} of {setup.sampling.batches} batches, "
    if best is not None and best.distance < score_of(result) and not _flat(result):
        return (
            f"{part}CLEVER's estimate for **{name}**, **{size}** in {NORM_NAMES[norm]}, is too large: "
            f"{name_of(best.attack)} makes it see *{setup.classes[best.label]}* at **{written(best.distance, norm)}**."
        )
    capped = score_of(result) >= setup.sampling.radius * (1 - ALIKE)
    nearer = f"*{target_name(result, nearest_target(result))}* is the nearest other class"
    if capped:
        nearer = "that is the radius within which it looked, beyond which it says nothing"
    estimated = (
        f"{part}CLEVER estimates that **{name}** goes on seeing *{_seen(result)}* in every picture nearer than "
        f"**{size}** in {NORM_NAMES[norm]}; {nearer}."
    )
    if best is None:
        return estimated
    return f"{estimated} The smallest distortion that an attack found is **{written(best.distance, norm)}**."


def _warn(setup: Setup, result: Estimate) -> None:
    """What speaks against the score."""
    if result.clever.maxima.shape[2] < FEW:
        return
    best = nearest(result.attacks)
    if _flat(result):
        st.error(prose(NAME, "Flat"), icon=":material/visibility_off:")
    elif best is not None and best.distance < score_of(result):
        st.error(prose(NAME, "Under the estimate"), icon=":material/gpp_bad:")
    doubted = [target_name(result, t) for t, p in enumerate(result.clever.p_value[0].tolist()) if p < DOUBT]
    if doubted:
        st.warning(prose(NAME, "No fit", classes=", ".join(doubted)), icon=":material/query_stats:")


def _seen(result: Estimate) -> str:
    return result.classes[int(result.clever.seen[0])]


def _flat(result: Estimate) -> bool:
    """Whether the gradients around the image vanish."""
    return bool((result.clever.location[0] <= 0).any())


def _exact(result: Estimate) -> float | None:
    """The exact distance where the network was shown to be linear as far as that, pixels' range left aside.

    That is where the gradient has the same length at the image and wherever the ball was sampled, the distance lies
    within the ball, and no attack found a smaller one.
    """
    scores, slope = result.clever, result.clever.slope[0]
    lengths = scores.maxima[0].double()
    alike = bool(((lengths - slope[:, None]).abs() <= ALIKE * slope[:, None]).all())
    if scores.sampling.order == 1 and lengths.shape[1] >= FEW and alike and bool((slope > 0).all()):
        distance, best = float((scores.margin[0] / slope).min()), nearest(result.attacks)
        if distance <= scores.sampling.radius and (best is None or best.distance >= distance * (1 - ALIKE)):
            return distance
    return None


def command(setup: Setup, result: Estimate) -> str | None:
    """The command that scores this image again, where all classes are scored and the picture is one of a data set."""
    subject, sampling = setup.subject, setup.sampling
    if subject.dataset in ("file", "photographs"):
        return None
    return (
        f"python -m lab clever --model {name_elsewhere(subject.model)} --dataset {subject.dataset} "
        f"--start {subject.image} --limit 1 --norm {sampling.number} --batches {sampling.batches} "
        f"--samples {sampling.samples} --radius {sampling.radius:.6g} --order {sampling.order} --seed {sampling.seed}"
    )


PAGE: Page[Setup, Estimate] = Page(
    name=NAME,
    title="CLEVER",
    icon=":material/straighten:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    further=with_attacks,
    tabs={"The fit": fit, "Convergence": convergence, "Where it fails": fails},
    command=command,
    doing=lambda setup: f"Sampling gradients of {setup.subject.card.name}",
    button="Estimate the distance",
    own_picture=lambda setup: setup.subject.is_own,
    shared=True,
)
