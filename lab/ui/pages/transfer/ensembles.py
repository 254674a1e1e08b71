"""The tab that attacks several models at once, and shows the images to one that was held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

import streamlit as st

from lab.experiments.transfer.matrix import Cell, Matrix, stream
from lab.figures import transfer as figures
from lab.models.ensemble import Ensemble, Fuse
from lab.progress import Progress
from lab.types import Model
from lab.ui.pages.transfer.setup import NAME, Setup
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

FUSED: Mapping[Fuse, str] = {
    "logits": "all, fused in logits",
    "probabilities": "all, fused in probabilities",
    "loss": "all, fused in loss",
}


def ensembles(setup: Setup, result: Matrix) -> None:
    """One model held out: images made on each other model, and on all others fused in three ways."""
    if len(setup.models) < 3:
        st.info("An ensemble with a held-out model needs at least three models.")
        return
    names = setup.names
    held = Ask(NAME).select("held", "Held-out model", setup.models, setup.models[0], format_func=names.__getitem__)
    others = [key for key in setup.models if key != held]

    def work(progress: Progress) -> Iterator[Mapping[str, Cell]]:
        models = cache.models(setup.models, progress.part(0.0, 0.1))
        data = cache.first_images(setup.models, setup.count)
        sources: dict[str, Model] = {names[key]: models[key] for key in others}
        sources |= {FUSED[fuse]: Ensemble([models[key] for key in others], fuse) for fuse in get_args(Fuse)}
        for made in stream(
            sources,
            {held: models[held]},
            data.x,
            data.y,
            setup.method.attack,
            seed=setup.seed,
            progress=progress.part(0.1, 1.0),
            **setup.method.params,
        ):
            if made.sources:
                yield {name: row[0] for name, row in zip(made.sources, made.cells, strict=True)}

    label = f"Attacking the other {len(others)} models, one by one and together"
    every = [*(names[key] for key in others), *FUSED.values()]
    cells = answer("ensemble", (setup, held), label, work, lambda so_far: _draw(so_far, every, "ensemble_live"))
    if cells:
        _draw(cells, every, "ensemble", prose(NAME, "The ensembles", held=names[held], attack=setup.method.spec.name))


def _draw(cells: Mapping[str, Cell], every: Sequence[str], key: str, how: str = "") -> None:
    show_chart(figures.bars(cells, list(FUSED.values()), every), key, how)
