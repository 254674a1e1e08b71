"""A finished attack, and the parts that every page shows of it: the verdict, the pictures, the numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import streamlit as st

from lab.experiments.attack.report import Request
from lab.experiments.attack.run import AttackRun, run_one
from lab.figures import attack as figures
from lab.figures.film import Told
from lab.models.cards import Card, Classifier
from lab.types import Access
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.tiles import Tile
from lab.ui.shell import cache
from lab.ui.shell.jobs import Job, outcome
from lab.ui.shell.links import link_here


class Keyed(Protocol):
    """Anything whose result is known by a key."""

    @property
    def key(self) -> Hashable:
        """What the result depends on."""


K = TypeVar("K", bound=Keyed)


@dataclass(frozen=True)
class Shown:
    """A finished attack and the scenario that it was made for."""

    scenario: Scenario
    run: AttackRun

    @property
    def key(self) -> Hashable:
        """What further results depend on: the scenario, and how far the attack came if it was stopped."""
        result = self.run.result
        return self.scenario.key, result.complete or int(result.queries[0])

    @property
    def size(self) -> str:
        """The size of the perturbation, for a person."""
        return figures.scaled(self.run.moved, self.run.norm)

    @property
    def seen(self) -> str:
        """The name of the class that the model sees in the clean image."""
        return self.scenario.card.classes[self.run.seen]

    @property
    def now(self) -> str:
        """The name of the class that the model sees in the attacked image."""
        return self.scenario.card.classes[self.run.now]

    @property
    def told(self) -> Told:
        """How the measures of this attack are told."""
        spec = self.scenario.spec
        return Told(
            norm=self.run.norm,
            targeted=self.run.goal.targeted,
            closest=spec.keep == "closest",
            by_queries=spec.access is not Access.GRADIENTS,
            by_labels=spec.access is Access.LABELS,
        )


def run_button(wanted: K | None, slot: str, label: str, forget: Callable[[K], None]) -> K | None:
    """Draws Run; returns what is to be shown: what was asked for at the last run, at first what the page asks for.

    Args:
        wanted: what the settings ask for now; None where they cannot be used.
        slot: the page's name in the session.
        label: of the button.
        forget: drops the results of a wanted thing, so that Run computes them anew.
    """
    with st.sidebar:
        pressed = st.button(label, type="primary", key="run", width="stretch", disabled=wanted is None)
        live = st.toggle("Run at every change", key="live", persist_state="session")
    applied: K | None = st.session_state.get(f"_applied_{slot}")
    changed = wanted is not None and applied is not None and wanted.key != applied.key
    if changed and not (pressed or live):
        note, button = st.columns([4, 1], vertical_alignment="center")
        note.info("The settings have changed since this result.", icon=":material/info:")
        pressed = button.button("Run", key="run_here", width="stretch")
    if wanted is not None and pressed:
        forget(wanted)
    if wanted is not None and (pressed or live or applied is None):
        st.session_state[f"_applied_{slot}"] = applied = wanted
        changed = False
    st.session_state["_changed"] = changed
    return applied


def load(key: str, job: Job) -> Classifier:
    """The model, with its progress told where its weights have to be fetched."""
    return cache.model(key, job.progress)


def load_all(keys: Sequence[str], job: Job) -> dict[str, Classifier]:
    """Models by key; the first tenth of the job."""
    return cache.models(keys, job.progress.part(0.0, 0.1))


def compute(scenario: Scenario) -> Shown | None:
    """The attack of a scenario: its result, or None while it is at work."""
    request = scenario.request

    def work(job: Job) -> AttackRun:
        return run_one(
            load(request.model, job),
            scenario.x,
            request.attack,
            target=request.target,
            seed=request.seed,
            progress=job.progress,
            params=request.params,
        )

    label = f"Running {scenario.spec.name} on {scenario.card.name}"
    found = outcome("attack", scenario.key, label, work)
    return None if found is None else Shown(scenario, found)


def sentence(shown: Shown) -> str:
    """What happened, with numbers."""
    done, name, target = shown.run, shown.scenario.card.name, shown.scenario.request.target
    before, after = f"{done.clean_p.max():.0%}", f"{done.attacked_p.max():.0%}"
    if not done.moved:
        return f"{name} still sees **{shown.seen}** ({after}): the attack did not move the picture."
    if done.now == done.seen and not done.fooled:
        moved = f"pixels moved by up to {shown.size}" if done.norm == "linf" else _moved(shown)
        return f"{name} still sees **{shown.seen}** ({after}, before {before}), although {moved}."
    asked = ", as asked" if target is not None and done.fooled else ""
    moved = f"no pixel moved by more than {shown.size}" if done.norm == "linf" else _moved(shown)
    if shown.told.closest and done.fooled:
        moved = f"the smallest change found is {shown.size}"
    return f"{name} now sees **{shown.now}** ({after}) where it saw **{shown.seen}** ({before}){asked}; {moved}."


def _moved(shown: Shown) -> str:
    if shown.run.norm == "l0":
        return f"{shown.size} of {shown.run.clean.numel():,} changed"
    return f"the picture moved by {shown.size}"


def verdict(shown: Shown, heading: str = "###") -> None:
    """What happened, as a sentence; whether the goal was missed or the attack stopped."""
    done, target = shown.run, shown.scenario.request.target
    st.markdown(f"{heading} {sentence(shown)}")
    if target is not None and not done.fooled:
        st.markdown(f"The goal was *{shown.scenario.card.classes[target]}*; it was not reached.")
    if not done.result.complete:
        st.warning("The attack was stopped before its last iteration: this is how far it came.")


def clean_tile(shown: Shown) -> Tile:
    """The clean picture and what the model sees in it."""
    done, card, label = shown.run, shown.scenario.card, shown.scenario.subject.label
    wrong = ""
    if label is not None and label != done.seen:
        wrong = f"; labelled {card.classes[label]}, so the model was wrong before the attack"
    caption = f"{shown.seen}, {done.clean_p.max():.0%}{wrong}"
    return Tile("Clean", done.clean[0], caption, f"What the model sees: {card.fit.describe()}.")


def attacked_tile(shown: Shown, title: str = "Adversarial") -> Tile:
    """The attacked picture and what the model sees in it."""
    return Tile(title, shown.run.result.x[0], f"{shown.now}, {shown.run.attacked_p.max():.0%}")


@dataclass(frozen=True)
class Measure:
    """One number of a result: its name, its value for a person, and what it means."""

    name: str
    value: str
    help: str


def measures(done: AttackRun) -> tuple[Measure, ...]:
    """How far the attacked picture is from the clean one, and what it cost."""
    distance, values = done.result.distance, done.clean[0].numel()
    changed = int(distance["l0"][0])
    forwards, backwards = int(done.result.queries[0]), int(done.result.backwards[0])
    share = changed / values
    return (
        Measure("L∞", f"{distance['linf'][0] * 255:.3g}/255", "The largest change of any value."),
        Measure("L2", f"{distance['l2'][0]:.3g}", "The Euclidean length of the perturbation, pixels in [0, 1]."),
        Measure(
            "L0",
            f"{share:.0%}" if share >= 0.1 or not changed else f"{changed:,}",
            f"Of {values:,} values (pixels times channels), {changed:,} changed.",
        ),
        Measure("SSIM", f"{done.ssim:.3f}", "Structural similarity to the clean picture; 1 is equal."),
        Measure(
            "Passes",
            f"{forwards:,} + {backwards:,}",
            "Forward and backward passes of the model that the attack used: a forward pass is one query.",
        ),
    )


def about_model(card: Card) -> None:
    """What is known of a model, from its card."""
    st.markdown(f"**{card.name}.** {card.summary}")
    told = [f"Source: {card.source}. Licence of the weights: {card.licence}."]
    if card.accuracy is not None:
        told.append(f"Accuracy: {card.accuracy:.2%} {card.accuracy_note}.")
    elif card.accuracy_note:
        told.append(f"Accuracy: {card.accuracy_note}.")
    if card.parameters:
        told.append(f"{card.parameters:,} parameters.")
    st.markdown("  \n".join(told))
    if note := card.details.get("note"):
        st.caption(str(note))
    if card.robust:
        rows = [
            {"attack": r.attack, "norm": r.norm, "epsilon": r.eps, "accuracy": f"{r.accuracy:.1%}", "images": r.n}
            for r in card.robust
        ]
        st.dataframe(rows, hide_index=True, width="content", key="robust")
        st.caption("Accuracy under attack, measured by the lab when the model was trained.")


def show_link(request: Request) -> None:
    """The link that restores the page with one attack."""
    link_here(
        "The link to this scenario" + ("; your own picture is not part of it" if request.dataset == "file" else "")
    )
