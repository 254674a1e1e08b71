"""The Black box page: a model copied by its labels alone, and attacked through the copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import streamlit as st
from torch import Tensor

from lab.experiments.blackbox.curves import Extraction
from lab.experiments.blackbox.substitute import LIGHT, Round
from lab.figures import blackbox as figures
from lab.figures.pictures import enlarge
from lab.images import bytes_of
from lab.models.catalog import name_elsewhere
from lab.ui.pages.blackbox.copying import compute
from lab.ui.pages.blackbox.queries import queries
from lab.ui.pages.blackbox.setup import NAME, Setup, choose
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import strip
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.words import percent

THUMB = 56
"""Width of a small picture: two pixels for one."""
STUCK = 0.05
"""Growth of the agreement below which more queries did not make the copy better."""
CLEAR = 0.2
"""What FGSM on the copy must fool more than noise of its size does."""


def show(setup: Setup, result: Extraction) -> None:
    """The verdict, the rounds, and the images that were asked."""
    st.markdown(f"### {sentence(setup, result)}")
    if result.complete:
        _lesson(result)
    _chart(setup, result)
    with st.expander("Every round in numbers"):
        st.dataframe(table(result), hide_index=True, width="stretch", key="rounds_table")
    _asked(setup, result)


def live(setup: Setup, result: Extraction) -> None:
    """The rounds so far."""
    st.markdown(f"### {sentence(setup, result)}")
    _chart(setup, result, more=True)
    _asked(setup, result)


def sentence(setup: Setup, result: Extraction) -> str:
    """What the copy is worth, with numbers."""
    last = result.rounds[-1]
    if last.round.labels.unique().numel() < 2:
        only = setup.classes[int(last.round.labels[0])]
        return f"{setup.name} answered nothing but **{only}**: from one label nothing can be copied."
    return (
        f"After **{last.round.queries:,} labels** the copy agrees with {setup.name} on "
        f"**{last.score.agreement:.0%}** of the test images; FGSM on the copy fools {setup.name} on "
        f"**{percent(last.score.fgsm, 0)}** of those that it classifies correctly, random noise of the same size on "
        f"{percent(last.score.noise, 0)}."
    )


def _lesson(result: Extraction) -> None:
    """Says why, where the copy did not come closer or its examples fool no more than noise does."""
    first, last = result.rounds[0], result.rounds[-1]
    grown = last.score.agreement - first.score.agreement
    gain = (last.score.fgsm or 0.0) - (last.score.noise or 0.0)
    if grown < STUCK or gain < CLEAR:
        asked = {"first": f"{first.round.queries:,}", "last": f"{last.round.queries:,}"}
        text = prose(NAME, "A failure that teaches", grown=f"{100 * grown:+.0f}", gain=f"{100 * gain:.0f}", **asked)
        st.info(text, icon=":material/school:")


def _chart(setup: Setup, result: Extraction, more: bool = False) -> None:
    how = prose(NAME, "The rounds", n=result.rounds[-1].score.n)
    show_chart(figures.rounds(result.rounds, setup.budget, more), "rounds", how)


def table(result: Extraction) -> list[dict[str, str]]:
    """The rounds, a row each, for a person."""
    return [
        {
            "round": str(c.round.number),
            "labels asked": f"{c.round.queries:,}",
            "agrees on them": percent(c.round.fit),
            "agrees on test images": percent(c.score.agreement),
            "FGSM": percent(c.score.fgsm),
            "JSMA": "" if c.score.jsma is None else percent(c.score.jsma),
            "noise": percent(c.score.noise),
        }
        for c in result.rounds
    ]


def _asked(setup: Setup, result: Extraction) -> None:
    """Some of the first images and of the newest, with the oracle's labels."""
    first, last = result.rounds[0].round, result.rounds[-1].round

    def newest(round: Round) -> Iterator[tuple[Tensor, str]]:
        for x, label in zip(*round.newest(LIGHT), strict=True):
            yield bytes_of(enlarge(x, THUMB)), setup.classes[int(label)]

    st.markdown("**What the oracle was shown**")
    st.caption("The first images, with the oracle's labels:")
    strip(newest(first), THUMB)
    if last.fresh and last.number:
        st.caption(prose(NAME, "The newest images", number=last.number))
        strip(newest(last), THUMB)


def doing(setup: Setup) -> str:
    """What the progress bar says."""
    return f"Copying {setup.name}"


def command(setup: Setup, result: Extraction) -> str:
    """The command that measures the rounds again."""
    given = " ".join(f"--param {name}={value}" for name, value in asdict(setup.settings).items())
    initial = f"--initial {setup.initial} " if setup.own is None else ""
    return (
        f"python -m lab blackbox --oracle {name_elsewhere(setup.oracle)} --dataset {setup.dataset} {initial}"
        f"--limit {setup.tests} --budget {setup.budget} --eps {setup.eps:.4g} --seed {setup.seed} {given}"
    )


PAGE: Page[Setup, Extraction] = Page(
    name=NAME,
    title="Black box",
    icon=":material/lock:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    live=live,
    tabs={"Against query attacks": queries},
    command=command,
    doing=doing,
    button="Copy the black box",
    private=lambda setup: setup.is_own,
)
