"""The tab with the linearity picture: logits along the attack's direction, with noise as the control."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.experiments.attack.linearity import NOISES, Line, along
from lab.experiments.attack.run import AttackRun
from lab.figures import attack as figures
from lab.figures.film import moment
from lab.progress import Progress
from lab.ui.pages.attack.setup import NAME, UNMOVED
from lab.ui.parts.moment import clicked, moment_of, pictured
from lab.ui.parts.result import kind
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose


def epsilon(scenario: Scenario, run: AttackRun) -> None:
    """Where the class changes on the way, and the logits of the likeliest classes."""
    if not run.size:
        st.info(UNMOVED)
        return

    def work(progress: Progress) -> Iterator[Line]:
        model = cache.model(run.request.model, progress.part(0.0, 0.1))
        goal, seed = run.goal if run.goal.targeted else None, run.request.seed
        yield along(model, run.clean, run.delta, run.line_norm, goal=goal, seed=seed, progress=progress.part(0.1, 1.0))

    line = answer("epsilon", run, "Following the attack's direction", work)
    if line is None:
        return
    st.markdown(sentence(run, line))
    at = {step: float(frame.distance[run.line_norm][0]) for step, frame in pictured(run).items()}
    figure = figures.line(line, run.classes, run.line_norm, run.request.target, at, moment_of(run))
    how = prose(NAME, "Along the direction")
    show_chart(figure, "line", how, on_select=lambda: clicked("line", run))
    step = moment_of(run)
    if step is not None:
        st.markdown(moment(pictured(run)[step], run.classes, kind(run)) + ".")


def sentence(run: AttackRun, line: Line) -> str:
    """Where the class changes, and how often random noise changes it."""

    def place(at: float | None) -> str:
        return "nowhere" if at is None else f"at **{figures.scaled(at, run.line_norm)}**"

    changes = "changes" if line.flip is None else "first changes"
    text = f"Along the direction of this attack the class {changes} {place(line.flip)}"
    noises = f"{line.noise_share:.0%} of {NOISES} random perturbations of the same size change the class"
    if run.goal.targeted:
        text += f", and the goal, *{run.classes[int(run.goal.labels[0])]}*, is reached {place(line.reached)}"
        noises += f", and {line.noise_reached:.0%} reach the goal"
    return f"{text}. {noises} (one of them is drawn below)."
