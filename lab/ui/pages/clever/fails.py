"""The tab with the same network behind a staircase, where the score says nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import streamlit as st

from lab.experiments.clever.estimate import Estimate
from lab.experiments.clever.staircase import Step, steps
from lab.figures.clever import written
from lab.progress import Progress
from lab.ui.pages.clever.setup import NAME, Setup, nearest_target, target_name
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose


def fails(setup: Setup, result: Estimate) -> None:
    """Masked gradients make the score meaningless; BPDA brings it back."""
    st.markdown(prose(NAME, "Where it fails"))
    if setup.sampling.order == 2:
        st.caption("Shown for the first order.")
    column, subject = nearest_target(result), setup.subject
    target = result.clever.targets[:1, column : column + 1]

    def work(progress: Progress) -> Iterator[tuple[Step, ...]]:
        model = cache.model(subject.model, progress.part(0.0, 0.05))
        taken: tuple[Step, ...] = ()
        for step in steps(
            model,
            subject.x,
            int(result.clever.seen[0]),
            target,
            setup.sampling,
            progress=progress.part(0.05, 1.0),
        ):
            taken = (*taken, step)
            yield taken

    taken = answer("staircase", (setup, column), "Putting a staircase before the network", work)
    if not taken:
        return
    rows = [
        {
            "network": step.network,
            "largest gradient": f"{step.location:.4g}",
            f"CLEVER, to {target_name(result, column)}": written(step.score, setup.norm)
            + (" (the radius)" if step.score >= setup.sampling.radius else ""),
            "DeepFool": written(step.distance, setup.norm) if math.isfinite(step.distance) else "finds nothing",
        }
        for step in taken
    ]
    st.dataframe(rows, hide_index=True, width="stretch", key="staircase")
    st.caption(prose(NAME, "The staircase"))
