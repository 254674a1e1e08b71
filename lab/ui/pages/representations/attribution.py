"""The tab with the pixels that speak for the class, clean and attacked, on the same scale."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st
from torch import Tensor

from lab.experiments.representations.attribution import attributions
from lab.experiments.representations.representation import Representation
from lab.figures import representations as figures
from lab.progress import Progress
from lab.ui.pages.representations.setup import NAME
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import Tile
from lab.ui.parts.viewer import show_pictures
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

SEEN = "what is seen in each picture"
NEAR = 5
"""Likely classes to choose from."""


def attribution(scenario: Scenario, result: Representation) -> None:
    """The maps of every method that the network allows, for a class of the person's choice."""
    run, ask = result.run, Ask(NAME)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        classes = dict.fromkeys((run.clean_class, run.attacked_class, *run.clean_probabilities.topk(NEAR)[1].tolist()))
        names = [SEEN, *(run.classes[k] for k in classes)]
        chosen = ask.select("of", "What speaks for", names, SEEN, help="The class whose logit is attributed to pixels.")
    with right:
        over = ask.toggle("over", "Laid over the picture", True)
    target = None if chosen == SEEN else run.classes.index(chosen)

    def work(progress: Progress) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        model = cache.model(run.request.model, progress.part(0.0, 0.1))
        yield attributions(model, run, target, progress=progress.part(0.1, 1.0))

    maps = answer("attributions", (run, target), "Attributing", work)
    if maps is None:
        return
    if target is None:
        st.markdown(
            f"For the clean picture: what speaks for **{run.clean_name}**; for the attacked one: what speaks for "
            f"**{run.attacked_name}**."
        )
    else:
        st.markdown(f"For both pictures: what speaks for **{chosen}**.")
    if not over:
        show_chart(figures.attributions(maps), "attribution", prose(NAME, "The attribution"))
        return
    for method, pair in maps.items():
        limit = max(float(values.abs().quantile(0.995)) for values in pair) or 1.0
        pictures = zip(("Clean", "Attacked"), (run.clean[0], run.attacked[0]), pair, strict=True)
        tiles = [Tile(f"{method}, {which.lower()}", figures.overlaid(x, v, limit), "") for which, x, v in pictures]
        show_pictures(tiles, f"attribution_{method}", pair=True)
    st.caption(prose(NAME, "The attribution"))
