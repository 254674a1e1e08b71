"""The moment of an attack that is looked at: the same iteration in the player, on the logit line and in the maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from lab.experiments.attack.run import AttackRun
from lab.types import Frame

KEPT = "_moment"
"""Where the session keeps the run and the step that is looked at."""
RESULT = "the result"


def pictured(run: AttackRun) -> dict[int, Frame]:
    """The iterates that kept their pictures, by step."""
    return {frame.step: frame for frame in run.result.frames if len(frame.x)}


def choose_moment(run: AttackRun, step: int | None) -> None:
    """Makes a step the one that is looked at; None for the result."""
    st.session_state[KEPT] = run, step


def moment_of(run: AttackRun) -> int | None:
    """The step that is looked at; None for the result."""
    kept: tuple[AttackRun, int | None] | None = st.session_state.get(KEPT)
    return kept[1] if kept is not None and kept[0] is run else None


def picture_at(run: AttackRun, step: int | None) -> Tensor:
    """The picture [1,C,H,W] at a step; the result where None."""
    return run.attacked if step is None else pictured(run)[step].x


def pick_moment(run: AttackRun, key: str) -> int | None:
    """Draws the choice of the moment; None for the result."""
    steps: Sequence[int | None] = [*pictured(run)]
    if steps and torch.equal(picture_at(run, steps[-1]), run.attacked):
        steps = steps[:-1]
    if len(steps) < 2:  # nothing lies between the clean picture and the result
        return None
    own = f"_{key}_moment"
    now = moment_of(run)
    st.session_state[own] = now if now in steps else None

    def moved() -> None:
        choose_moment(run, st.session_state[own])

    st.select_slider(
        "Iteration",
        [*steps, None],
        key=own,
        on_change=moved,
        format_func=lambda step: RESULT if step is None else f"{step:,}",
        help="The same iteration is shown by the player on the Attack page, and marked on its logits.",
    )
    return moment_of(run) if moment_of(run) in steps else None


def clicked(key: str, run: AttackRun) -> None:
    """Called when a point of a chart is clicked whose customdata is a step: it is then the one that is looked at."""
    points: Sequence[dict[str, Any]] = st.session_state[key].selection.points
    if points and points[0].get("customdata") is not None:
        at = points[0]["customdata"]
        choose_moment(run, int(at[0] if isinstance(at, Sequence) else at))
