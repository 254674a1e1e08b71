"""The Compare page: two attacks, A and B, on one picture and one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from lab.experiments.attack.request import python
from lab.experiments.attack.run import AttackRun
from lab.figures import attack as figures
from lab.figures.pictures import amplify
from lab.models.catalog import find_model
from lab.ui.pages.compare.setup import NAME, Both, Pair, choose
from lab.ui.parts.result import (
    attack_of,
    attacked_tile,
    clean_tile,
    forget_attack,
    measures,
    verdict,
)
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import Tile
from lab.ui.parts.viewer import show_pictures
from lab.ui.shell.downloads import Offer
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose


def gather(pair: Pair) -> Both | None:
    """The results of a pair, one after the other; None while one is at work."""
    a = attack_of(pair.a)
    b = None if a is None else attack_of(pair.b)
    return None if a is None or b is None else Both(a, b)


def drop(pair: Pair) -> None:
    """Drops the results of a pair."""
    forget_attack(pair.a)
    forget_attack(pair.b)


def show(pair: Pair, both: Both) -> None:
    """Two verdicts, the pictures on one scale, the numbers, and both margins on the same axes."""
    left, right = st.columns(2, gap="large")
    with left:
        verdict(pair.a, both.a, "#### A:")
    with right:
        verdict(pair.b, both.b, "#### B:")
    runs = {"A": both.a, "B": both.b}
    clean = [clean_tile(pair.a, both.a)]
    if both.a.request.model != both.b.request.model:
        tiles = clean[0], clean_tile(pair.b, both.b)
        clean = [replace(tile, title=f"{tile.title} {letter}") for letter, tile in zip(runs, tiles, strict=True)]
    pictures(clean, runs)
    numbers(runs)
    st.markdown("**The margin against the work done**")
    traces = {letter: (run.spec.name, run.result.frames) for letter, run in runs.items()}
    show_chart(figures.against_passes(traces), "passes", prose(NAME, "The margins"))


def pictures(clean: Sequence[Tile], runs: dict[str, AttackRun]) -> None:
    """What both attacks made, both perturbations, amplified alike, and the clean picture as each model sees it."""
    largest = max(run.delta.abs().max().item() for run in runs.values())
    tiles = [attacked_tile(run, f"Adversarial {letter}") for letter, run in runs.items()]
    for letter, run in runs.items():
        x, factor = amplify(run.delta[0], largest)
        tiles.append(Tile(f"Perturbation {letter}", x, f"amplified {figures.times(factor)}", "Grey means unchanged."))
    show_pictures([*tiles, *clean], "pictures", pair=True)


def numbers(runs: dict[str, AttackRun]) -> None:
    """Distances, similarity and cost of both, row by row."""
    rows = []
    for letter, run in runs.items():
        values = {measure.name: measure.value for measure in measures(run)}
        goal = "reached" if run.success else "not reached" if run.complete else "stopped before it was reached"
        model = find_model(run.request.model).card().name
        rows.append({"attack": f"{letter}: {run.spec.name}", "model": model, "goal": goal, **values})
    st.dataframe(rows, hide_index=True, width="stretch", key="distances")
    st.caption(" ".join(f"{m.name}: {_lower(m.help)}" for m in measures(runs["A"]) if m.name != "L0"))


def files(pair: Pair, both: Both) -> Sequence[Offer]:
    """The pictures of both attacks as arrays."""
    return tuple(
        Offer(f"{letter}, arrays (.npz)", f"{letter.lower()}.npz", "application/octet-stream", run.arrays)
        for letter, run in (("A", both.a), ("B", both.b))
    )


def script(pair: Pair, both: Both) -> str:
    """The Python that makes both attacks."""
    return f"# A\n{python(both.a.request)}\n\n# B\n{python(both.b.request)}"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


PAGE: Page[Pair, Both] = Page(
    name=NAME,
    title="Compare",
    icon=":material/balance:",
    about=prose(NAME, "About"),
    choose=choose,
    gather=gather,
    parts=lambda both: (both.a, both.b),
    drop=drop,
    show=show,
    files=files,
    script=script,
    stem=lambda pair: f"{pair.a.method.attack}_{pair.b.method.attack}_{pair.a.subject.image}",
    own_picture=lambda pair: pair.a.subject.is_own,
    button="Run both attacks",
    shared=True,
    attacks=True,
    sidebar=False,
    keeps=True,
)
