"""The tab that says whether the attack survives being saved, judged on the very files that are offered for download."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import streamlit as st
from torch import Tensor

from lab.experiments.attack.run import AttackRun
from lab.experiments.attack.saved import Survival, survival
from lab.progress import Progress
from lab.ui.pages.attack.setup import NAME
from lab.ui.parts.scenario import Scenario
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose


def saved(scenario: Scenario, run: AttackRun) -> None:
    """What the model sees in each file, and in the clean picture saved the same way."""

    def work(progress: Progress) -> Iterator[tuple[Survival, ...]]:
        model = cache.model(run.request.model, progress.part(0.0, 0.1))
        yield survival(model, run.clean, run.attacked, run.goal, progress=progress.part(0.1, 1.0))

    files = answer("saved", run, "Saving and reading back", work)
    if files is None:
        return
    rows = [
        {
            "saved as": file.name,
            "goal": "reached" if file.success else "not reached",
            "the model sees": _seen(file.logits, run.classes),
            "in the clean picture, saved likewise": _seen(file.clean, run.classes),
            "largest change": f"{file.linf * 255:.3g}/255",
            "size": f"{len(file.data):,} bytes" if file.data else "",
        }
        for file in files
    ]
    st.dataframe(rows, hide_index=True, width="stretch", key="survival")
    st.caption(prose(NAME, "Saved"))


def _seen(logits: Tensor, classes: Sequence[str]) -> str:
    p = logits.softmax(0)
    return f"{classes[int(p.argmax())]} ({p.max():.0%})"
