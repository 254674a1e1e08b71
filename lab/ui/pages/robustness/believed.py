"""The tab that asks whether a model's accuracy under attack is to be believed."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.experiments.robustness.curves import Robustness
from lab.experiments.robustness.sanity import Check, check
from lab.figures.attack import scaled
from lab.models.catalog import is_here
from lab.progress import Progress
from lab.ui.pages.robustness.setup import NAME, Setup, autoattack_if_lower, ranking
from lab.ui.parts.checks import show_checks, so_far
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

CHECKED = 50
"""Images that are asked about, at most."""
CHECKED_PHOTOGRAPHS = 8


def believed(setup: Setup, result: Robustness) -> None:
    """The sanity checks of one model, each with its evidence; first the model that seems better than it is."""
    options = sorted(ranking(setup, result), key=lambda key: autoattack_if_lower(setup, result, key) is None)
    model = Ask(NAME).select("checked", "Model", options, options[0], format_func=setup.names.__getitem__)
    eps = setup.eps[-1] / 2
    others = [key for key in trained.keys(setup.task) if key != model and is_here(key)]
    source = next((key for key in others if key.endswith(("/mlp", "/efficientnet_lite0"))), next(iter(others), None))
    st.caption(prose(NAME, "The checks", size=scaled(eps, setup.norm), n=CHECKED))

    def work(progress: Progress) -> Iterator[tuple[Check, ...]]:
        data = cache.first_images(setup.models, setup.count)
        data = data.rows(slice(0, CHECKED_PHOTOGRAPHS if setup.task == "imagenet" else CHECKED))
        attacked = cache.model(model, progress.part(0.0, 0.1))
        other = None if source is None else cache.model(source, progress.part(0.1, 0.2))
        part = progress.part(0.2, 1.0)
        asked = check(attacked, data.x, data.y, eps, norm=setup.norm, source=other, seed=setup.seed, progress=part)
        yield from so_far(asked)

    key = (model, setup.task, setup.count, setup.norm, eps, setup.seed)
    answered = answer("checks", key, f"Questioning {setup.names[model]}", work, show_checks)
    if answered:
        show_checks(answered)
