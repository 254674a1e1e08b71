"""The tab that asks whether the naive attacker's figure is to be believed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import streamlit as st

from lab.data import load_data
from lab.data.catalog import of_task
from lab.defenses.catalog import defend
from lab.experiments.defenses.attackers import Defended
from lab.experiments.robustness.sanity import Check, check
from lab.figures.attack import scaled
from lab.progress import Progress
from lab.ui.pages.defenses.guards.setup import EPSILONS, NAME, Setup
from lab.ui.parts.checks import show_checks, so_far
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

CHECKED = 30
"""Images that are asked about, at most."""
CHECKED_PHOTOGRAPHS = 4


def believed(setup: Setup, result: Defended) -> None:
    """The sanity checks of the model behind its defense, as a naive attacker sees it."""
    count = min(setup.count, CHECKED_PHOTOGRAPHS if setup.task == "imagenet" else CHECKED)
    eps = setup.eps or EPSILONS[setup.task] / 255
    st.caption(prose(NAME, "The checks", size=scaled(eps, "linf"), n=count))

    def work(progress: Progress) -> Iterator[tuple[Check, ...]]:
        data = load_data(of_task(setup.task).key, card=setup.card).rows(slice(0, count))
        model = cache.model(setup.model, progress)
        params: dict[str, Any] = dict(setup.params)
        behind = defend(setup.defense, model, seed=setup.seed, **params)
        yield from so_far(check(behind, data.x, data.y, eps, source=model, seed=setup.seed, progress=progress))

    answered = answer("guards_checks", setup, f"Questioning {setup.inline}", work, show_checks)
    if answered:
        show_checks(answered)
