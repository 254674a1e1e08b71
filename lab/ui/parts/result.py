"""An attack on one picture, and the parts that every page shows of it: the verdict, the pictures, the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import streamlit as st

from lab.attacks.driver import planned
from lab.experiments.attack.run import AttackRun, run_attack
from lab.figures.attack import margin_so_far, scaled
from lab.figures.film import Kind
from lab.progress import Progress
from lab.types import Access, Frame
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import Tile
from lab.ui.parts.viewer import show_pictures
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer, forget, known

SLOT = "attack"
"""Where the session keeps the attacks, so that what one page has computed is there for the others."""
AT_WORK = 288
"""The largest width in pixels of the pictures of an attack that is at work."""


def compute(scenario: Scenario, progress: Progress) -> Iterator[AttackRun]:
    """The attack of a scenario."""
    model = cache.model(scenario.card.key, progress.part(0.0, 0.1))
    yield run_attack(scenario.request, model, scenario.x, scenario.card.classes, progress=progress.part(0.1, 1.0))


def doing(scenario: Scenario) -> str:
    """What the progress bar says."""
    return f"Running {scenario.spec.name} on {scenario.card.name}"


def attack_of(scenario: Scenario) -> AttackRun | None:
    """The attack of a scenario for a page that shows more than it; None while it is at work, which is then drawn."""
    work, seen = partial(compute, scenario), partial(at_work, scenario)
    return answer(SLOT, scenario, doing(scenario), work, own=scenario.subject.is_own, by=compute, watch=seen)


def at_work(scenario: Scenario, frames: Sequence[Frame]) -> None:
    """An attack that is not done yet: the picture as it is by now, what the model sees in it, and the margin so far."""
    seen = tuple(frames)  # it grows while it is read
    first, now, params = seen[0], seen[-1], scenario.method.params
    norm, steps = scenario.spec.measured_in(params), planned(scenario.spec.build(**params), scenario.x)
    moved = scaled(float(now.distance[norm][0]), norm)

    def told(frame: Frame) -> str:
        return f"{scenario.card.classes[int(frame.predictions[0])]}, {frame.confidence[0]:.0%}"

    with st.container(key="at_work"):
        clean = Tile("Clean", scenario.x[0], told(first))
        meanwhile = Tile(f"At iteration {now.step:,}", now.x[0], f"{told(now)}; moved by {moved}")
        show_pictures([clean, meanwhile], "at_work_pictures", pair=True, widest=AT_WORK)
        figure = margin_so_far([float(f.margin[0]) for f in seen], steps)
        show_chart(figure, "at_work_margin", alt="The margin of the goal in logits, iteration by iteration so far")


def known_attack(scenario: Scenario) -> AttackRun | None:
    """The attack of a scenario where it is there without any work."""
    return cast("AttackRun | None", known(SLOT, scenario, compute))


def forget_attack(scenario: Scenario) -> None:
    """Drops the attack of a scenario, so that it is computed anew."""
    forget(SLOT, scenario)


def size(run: AttackRun) -> str:
    """The size of the perturbation, for a person."""
    return scaled(run.size, run.norm)


def kind(run: AttackRun) -> Kind:
    """What its curves depend on."""
    return Kind(
        norm=run.norm,
        targeted=run.goal.targeted,
        closest=run.spec.keep == "closest",
        by_queries=run.spec.access is not Access.GRADIENTS,
        by_labels=run.spec.access is Access.LABELS,
    )


def sentence(scenario: Scenario, run: AttackRun) -> str:
    """What happened, with numbers."""
    name, before = scenario.card.name, f"{run.clean_probabilities.max():.0%}"
    after = f"{run.attacked_probabilities.max():.0%}"
    if not run.size:
        return f"{name} still sees **{run.clean_name}** ({after}): the attack did not move the picture."
    if run.attacked_class == run.clean_class and not run.success:
        moved = f"pixels moved by up to {size(run)}" if run.norm == "linf" else _moved(run)
        return f"{name} still sees **{run.clean_name}** ({after}, before {before}), although {moved}."
    asked = ", as asked" if run.goal.targeted and run.success else ""
    moved = f"no pixel moved by more than {size(run)}" if run.norm == "linf" else _moved(run)
    if run.spec.keep == "closest" and run.success:
        moved = f"the smallest change found is {size(run)}"
    now = f"now sees **{run.attacked_name}** ({after}) where it saw **{run.clean_name}** ({before})"
    return f"{name} {now}{asked}; {moved}."


def _moved(run: AttackRun) -> str:
    if run.norm == "l0":
        return f"{size(run)} of {run.clean.numel():,} changed"
    return f"the picture moved by {size(run)}"


def verdict(scenario: Scenario, run: AttackRun, heading: str = "###") -> None:
    """What happened, as a sentence; whether the goal was missed or the attack stopped."""
    st.markdown(f"{heading} {sentence(scenario, run)}")
    target = run.request.target
    if target is not None and not run.success:
        st.markdown(f"The goal was *{run.classes[target]}*; it was not reached.")
    if not run.result.complete:
        st.warning("The attack was stopped before its last iteration: this is how far it got.")


def clean_tile(scenario: Scenario, run: AttackRun) -> Tile:
    """The clean picture and what the model sees in it."""
    label, wrong = scenario.subject.label, ""
    if label is not None and label != run.clean_class:
        wrong = f"; labelled {run.classes[label]}, so the model was wrong before the attack"
    caption = f"{run.clean_name}, {run.clean_probabilities.max():.0%}{wrong}"
    return Tile("Clean", run.clean[0], caption, f"What the model sees: {scenario.card.fit.describe()}.")


def attacked_tile(run: AttackRun, title: str = "Adversarial") -> Tile:
    """The attacked picture and what the model sees in it."""
    return Tile(title, run.result.x[0], f"{run.attacked_name}, {run.attacked_probabilities.max():.0%}")


@dataclass(frozen=True)
class Measure:
    """One number of a result: its name, its value for a person, and what it means."""

    name: str
    value: str
    help: str


def measures(run: AttackRun) -> tuple[Measure, ...]:
    """How far the attacked picture is from the clean one, and what it cost."""
    distance, values = run.result.distance, run.clean[0].numel()
    changed = int(distance["l0"][0])
    forwards, backwards = int(run.result.queries[0]), int(run.result.backwards[0])
    share = changed / values
    return (
        Measure("L∞", f"{distance['linf'][0] * 255:.3g}/255", "The largest change of any value."),
        Measure("L2", f"{distance['l2'][0]:.3g}", "The Euclidean length of the perturbation, with pixels in [0, 1]."),
        Measure(
            "L0",
            f"{share:.0%}" if share >= 0.1 or not changed else f"{changed:,}",
            f"Of {values:,} values (pixels times channels), {changed:,} changed.",
        ),
        Measure("SSIM", f"{run.ssim:.3f}", "Structural similarity to the clean picture; 1 means identical."),
        Measure(
            "Passes",
            f"{forwards:,} + {backwards:,}",
            "Forward and backward passes of the model that the attack used: a forward pass is one query.",
        ),
    )
