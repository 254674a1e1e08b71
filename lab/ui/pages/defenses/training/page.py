"""Adversarial training, live: a view of the Defenses page."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import streamlit as st

from lab.assets import ASSETS
from lab.data.catalog import TASKS
from lab.experiments.papers.experiment import provenance, published
from lab.experiments.papers.training import CASES
from lab.figures import training as figures
from lab.figures.attack import scaled
from lab.models.cards import REFERENCE_EPS
from lab.models.catalog import find_model
from lab.progress import Progress
from lab.training.fit import Epoch
from lab.training.presets import PRESETS
from lab.training.session import MEASURED, STEPS, Plan, Trained, TrainingRun
from lab.ui.pages.defenses.training.comparison import comparison
from lab.ui.pages.defenses.training.save import save
from lab.ui.pages.defenses.training.setup import ASK, EXAMPLES, NAME, NETS, choose, take_example
from lab.ui.parts.show import show_chart
from lab.ui.shell.jobs import answer, forget
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.say import attempt

RECORDED = "mnist-zero", "mnist-fast"
"""The recordings of the two examples."""
KEPT = 4
"""Trainings of a session that can be resumed; the oldest are dropped."""
FAILED = 0.25
"""Accuracy on clean images of ten classes below which a net has learned nothing."""
LESSONS = ("training-collapse", "training-fast", "training-masking")
"""The trainings whose stored figures stand beside one another, by their ids in `lab reproduce`."""


def view() -> None:
    """Draws the settings in the sidebar, and the training and what it brought in the main column."""
    with st.sidebar:
        plan = attempt(lambda: choose(ASK))
        pressed = st.button(
            "Train", type="primary", key=ASK.key("train"), width="stretch", disabled=plan is None
        ) or bool(st.session_state.pop("_train_now", False))
    if plan is None:
        st.info("Choose settings that work in the sidebar; the reason is written there.")
        return
    if pressed:
        st.session_state["_training"] = plan
    applied: Plan | None = st.session_state.get("_training")
    above, below = st.container(), st.container()
    with below:  # first, so that it does not wait for the training
        comparison(applied or plan, None if applied is None else _run_of(applied))
        _lesson()
    with above:
        _training(plan, applied)


def _take(example: str) -> None:
    """Sets the widgets to an example, and trains."""
    take_example(example)
    st.session_state["_train_now"] = True


def _training(plan: Plan, applied: Plan | None) -> None:
    """The verdict, the chart, and what can be done with the net."""
    place = st.container()
    with st.container(horizontal=True, gap="small"):
        for k, name in enumerate(EXAMPLES):
            st.button(name, key=ASK.key(f"preset_{k}"), on_click=_take, args=(name,), icon=":material/play_arrow:")
    with place:
        if applied is None:
            _welcome(plan)
            return
        trained = _trained(applied)
        if trained is None:
            return
        if plan != applied:
            st.info("The settings have changed since this training: press Train to train anew.", icon=":material/info:")
        _show(trained)
        resume = ASK.key("resume")
        if not trained.finished and st.button("Resume", type="primary", key=resume, icon=":material/resume:"):
            forget(NAME, applied)
            st.rerun()
        if trained.net is not None:
            save(trained, trained.net)


def _welcome(plan: Plan) -> None:
    """What adversarial training is worth, by the cards of the lab's models, and a recorded run."""
    eps = REFERENCE_EPS[plan.task]
    worth = []
    for name in ("cnn", "cnn_pgd_at"):
        card = find_model(f"{plan.task}/{name}").card()
        under = card.under_attack(eps)
        worth.append((f"{card.accuracy or 0:.1%}", f"{under.accuracy if under else math.nan:.1%}"))
    (clean, attacked), (robust_clean, robust) = worth
    st.markdown(
        f"### Trained on clean images, the lab's convolutional net classifies {clean} correctly, and **{attacked}** "
        f"under attack; trained on attacked ones, {robust_clean} and **{robust}**."
    )
    st.markdown(prose(NAME, "Welcome", data=TASKS[plan.task], size=scaled(eps, "linf")))
    recorded, epochs = recording(plan.task)
    st.markdown(f"**Recorded with the settings that this view begins with.** {_summary(recorded, epochs)}")
    _chart(epochs, recorded, "", "chart")


@functools.cache
def recording(name: str) -> tuple[Plan, tuple[Epoch, ...]]:
    """A training as `scripts/build_training.py` ran it.

    Args:
        name: a task, for the settings that the view begins with; or an example's, as in RECORDED.
    """
    record = json.loads((ASSETS / "overview" / "training.json").read_text(encoding="utf-8"))[name]
    params = tuple((name, value) for name, value in record["plan"].pop("params"))
    return Plan(params=params, **record["plan"]), tuple(Epoch(**epoch) for epoch in record["epochs"])


def _summary(plan: Plan, epochs: tuple[Epoch, ...]) -> str:
    last, seconds = epochs[-1].validation, epochs[-1].elapsed
    return (
        f"{PRESETS[plan.preset].name}, {NETS[plan.net].lower()} net, {plan.images:,} images, {plan.epochs} epochs in "
        f"{seconds:.0f} s on one CPU core: **{last['clean']:.0%}** of held-out images right, **{last['fgsm']:.0%}** "
        f"under FGSM and **{last['robust']:.0%}** under PGD. Press Train for your own."
    )


def _run_of(plan: Plan) -> TrainingRun:
    """What the session keeps of a training."""
    kept = cast("dict[Plan, TrainingRun]", st.session_state.setdefault("_trainings", {}))
    if plan not in kept:
        kept[plan] = TrainingRun(plan)
        while len(kept) > KEPT:
            del kept[next(iter(kept))]
    return kept[plan]


def _trained(plan: Plan) -> Trained | None:
    """The training: finished, or as far as it came when it was stopped; None while it is at work."""
    run = _run_of(plan)

    def work(progress: Progress) -> Iterator[Trained]:
        yield from run.run(progress)

    # a worker of its own, so that nobody's attack waits for minutes
    doing = f"Training: {NETS[plan.net].lower()}, {PRESETS[plan.preset].name}"
    return answer(NAME, plan, doing, work, _live, lane=NAME, own=True)


def _live(trained: Trained) -> None:
    """The chart while it grows."""
    _chart(trained.epochs, trained.plan, "The first epoch is running", "chart_live")
    if 2 * len(trained.epochs) > trained.plan.epochs:  # before, a net may just not be robust yet
        _warn(trained)


def _chart(epochs: tuple[Epoch, ...], plan: Plan, waiting: str, key: str) -> None:
    show_chart(
        figures.progress(epochs, plan.epochs, waiting=waiting, beside=_other(plan)),
        ASK.key(key),
        prose(NAME, "The chart", n=MEASURED, steps=STEPS, size=scaled(plan.eps, "linf")),
    )


def _other(plan: Plan) -> tuple[str, tuple[Epoch, ...]] | None:
    """The example that an example's settings are compared with: its rule's name, and its recorded epochs."""
    for name, other in ((RECORDED[0], RECORDED[1]), (RECORDED[1], RECORDED[0])):
        if replace(plan, seed=0) == recording(name)[0]:
            compared, epochs = recording(other)
            return PRESETS[compared.preset].name, epochs
    return None


def _show(trained: Trained) -> None:
    """The verdict, the chart, and what was trained on."""
    plan = trained.plan
    if not trained.epochs:
        st.markdown("### Stopped before the first epoch was done.")
        _chart((), plan, "No epoch was finished", "chart")
        return
    last, accuracies = trained.epochs[-1], trained.kept.validation
    count = f"{len(trained.epochs)} epoch{'s' if len(trained.epochs) > 1 else ''}"
    so_far = f"After {count}" if trained.finished else f"Stopped after epoch {last.number} of {last.of}:"
    st.markdown(
        f"### {so_far} the net classifies **{accuracies['clean']:.0%}** of held-out images correctly, "
        f"**{accuracies['fgsm']:.0%}** under FGSM and **{accuracies['robust']:.0%}** under PGD."
    )
    if accuracies["clean"] < FAILED:
        st.error(prose(NAME, "A training that failed", clean=f"{accuracies['clean']:.0%}"), icon=":material/error:")
    _warn(trained)
    _chart(trained.epochs, plan, "", "chart")
    pace = last.elapsed / len(trained.epochs)
    st.caption(
        f"{PRESETS[plan.preset].name}, {scaled(plan.eps, 'linf')}. Trained on {trained.text}. {pace:.1f} s of training "
        "per epoch. The same settings and seed give the same net on this machine, stopped in between or not."
    )


def _warn(trained: Trained) -> None:
    """Says that catastrophic overfitting has happened, and what it is."""
    if not trained.overfitted:
        return
    last, taken_back = trained.epochs[-1], ""
    if last.note:
        taken_back = " The rule noticed it and ended the training"
        taken_back += "." if trained.kept is last else f"; the net is that of epoch {trained.kept.number}."
    values = {name: f"{last.validation[name]:.0%}" for name in ("fgsm", "robust")}
    st.warning(
        prose(NAME, "Catastrophic overfitting", epoch=last.number, **values) + taken_back, icon=":material/warning:"
    )


def _lesson() -> None:
    """What is trained, and what training on single steps is worth, measured on the official test images."""
    with st.expander("How it works, and what one step is worth"):
        st.markdown(prose(NAME, "How it works"))
        rows = {id: _lesson_row(id) for id in LESSONS}
        st.dataframe(list(rows.values()), hide_index=True, width="stretch")
        masked = {name: rows["training-masking"][name].split(" ")[0] for name in ("under FGSM", "under PGD")}
        st.markdown(prose(NAME, "The masking lesson", fgsm=masked["under FGSM"], pgd=masked["under PGD"]))
        st.caption(prose(NAME, "Measured again", measured=provenance("training-masking")))


def _lesson_row(id: str) -> dict[str, str]:
    """One training of the lesson: what was trained, and its errors as they were stored."""
    case = CASES[id.removeprefix("training-")]
    errors = {what: f"{figure.value:.1%}" for what, figure in published(id).items()}
    return {
        "training": case.name,
        "epsilon": f"{case.eps:g}",
        "wrong when clean": errors["error clean"],
        "under FGSM": errors["error under fgsm"],
        "under PGD": f"{errors[f'error under pgd, {case.steps} steps']} ({case.steps} steps)",
    }


PAGE: Page[Plan, Trained] = Page(
    name=NAME,
    title="Adversarial training",
    icon=":material/fitness_center:",
    about=prose(NAME, "About"),
    body=view,
)
