"""The Black box page: a model copied by its labels alone, and attacked through the copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict

import streamlit as st
from torch import Tensor

from lab.experiments.blackbox.curves import Extraction, extract
from lab.experiments.blackbox.oracle import Remote, labels_of
from lab.figures import blackbox as figures
from lab.figures.pictures import enlarge
from lab.images import bytes_of
from lab.models.catalog import name_elsewhere
from lab.progress import Progress
from lab.ui.pages.blackbox.queries import queries
from lab.ui.pages.blackbox.setup import NAME, Setup, choose
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import strip
from lab.ui.shell import cache
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.words import percent

JSMA_IMAGES = 20
THUMB = 56
"""Width of a small picture: two pixels for one."""
STUCK = 0.05
"""Growth of the agreement below which more queries did not make the copy better."""
CLEAR = 0.2
"""What FGSM on the copy must fool more than noise of its size does."""


def compute(setup: Setup, progress: Progress) -> Iterator[Extraction]:
    """The copy, round by round."""
    first, test = setup.images()
    ask = Remote(setup.oracle, len(setup.classes)) if setup.remote else labels_of(cache.model(setup.oracle))
    for rounds in extract(
        ask,
        first,
        len(setup.classes),
        test,
        setup.settings,
        budget=setup.budget,
        counted=setup.remote,
        eps=setup.eps,
        jsma=0 if setup.remote else JSMA_IMAGES,
        seed=setup.seed,
        progress=progress,
    ):
        yield Extraction(
            rounds,
            setup.oracle,
            setup.dataset,
            setup.initial,
            len(test),
            setup.budget,
            setup.eps,
            setup.settings,
            setup.seed,
        )


def show(setup: Setup, result: Extraction) -> None:
    """The verdict, the rounds, and the images that were asked."""
    st.markdown(f"### {sentence(setup, result)}")
    _lesson(result)
    _chart(setup, result)
    with st.expander("Every round in numbers"):
        st.dataframe(table(result), hide_index=True, width="stretch", key="rounds_table")
    _asked(setup, result)


def live(setup: Setup, result: Extraction) -> None:
    """The rounds so far."""
    st.markdown(f"### {sentence(setup, result)}")
    _chart(setup, result)
    _asked(setup, result)


def sentence(setup: Setup, result: Extraction) -> str:
    """What the copy is worth, with numbers."""
    last = result.rounds[-1]
    return (
        f"After **{last.round.queries:,} labels** the copy agrees with {setup.name} on "
        f"**{last.score.agreement:.0%}** of the test images; FGSM on the copy fools {setup.name} on "
        f"**{percent(last.score.fgsm, 0)}** of them, random noise of the same size on {percent(last.score.noise, 0)}."
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


def _chart(setup: Setup, result: Extraction) -> None:
    how = prose(NAME, "The rounds", n=result.rounds[-1].score.n)
    show_chart(figures.rounds(result.rounds, setup.budget), "rounds", how)


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
    last = result.rounds[-1].round

    def pictures(rows: Iterable[int]) -> Iterator[tuple[Tensor, str]]:
        return ((bytes_of(enlarge(last.x[i], THUMB)), setup.classes[int(last.labels[i])]) for i in rows)

    st.markdown("**What the oracle was shown**")
    st.caption("The first images, with the oracle's labels:")
    strip(pictures(range(min(10, result.rounds[0].round.fresh))), THUMB)
    if last.fresh and last.number:
        st.caption(prose(NAME, "The newest images", number=last.number))
        strip(pictures(range(len(last.x) - last.fresh, len(last.x))[:10]), THUMB)


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
