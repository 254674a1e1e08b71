"""The Transfer page: images made to fool one model, shown to models that were never touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import streamlit as st
from torch import Tensor

from lab.data.catalog import of_task
from lab.experiments.transfer.matrix import Matrix, stream
from lab.figures import transfer as figures
from lab.figures.transfer import What
from lab.models.catalog import name_elsewhere
from lab.packed import archive
from lab.params import Value
from lab.progress import Progress
from lab.ui.pages.transfer.disjoint import disjoint
from lab.ui.pages.transfer.ensembles import ensembles
from lab.ui.pages.transfer.pairs import pairs, pick
from lab.ui.pages.transfer.setup import NAME, Setup, choose
from lab.ui.pages.transfer.sweeps import sweeps
from lab.ui.pages.transfer.trio import trio
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import Offer
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.words import listed

CELLS: Mapping[What, str] = {
    "success": "Misclassified",
    "agreement": "Same wrong class, where both err",
    "same": "Same wrong class, of all that fool the source",
}
"""What the cells can show; how.md says what each means."""


def compute(setup: Setup, progress: Progress) -> Iterator[Matrix]:
    """The matrix, row by row."""
    models = cache.models(setup.models, progress.part(0.0, 0.1))
    data = cache.first_images(setup.models, setup.count)
    method, dataset = setup.method, of_task(setup.task).key
    for transfer in stream(
        models,
        models,
        data.x,
        data.y,
        method.attack,
        seed=setup.seed,
        progress=progress.part(0.1, 1.0),
        **method.params,
    ):
        if transfer.sources:
            yield Matrix(transfer, method.attack, method.values, setup.seed, dataset, tuple(data.ids))


def show(setup: Setup, result: Matrix) -> None:
    """The verdict, the matrix, and the images behind one of its cells."""
    st.markdown(f"### {sentence(setup, result)}")
    what: What = Ask(NAME).segment(
        "what",
        "Shown in the cells",
        get_args(What),
        "success",
        format_func=CELLS.__getitem__,
        label_visibility="collapsed",
        width="content",
    )
    counted = prose(NAME, "The matrix", n=result.transfer.n, of=setup.count)
    how = f"{prose(NAME, CELLS[what])} {counted}"
    with st.container(key="wide"):
        show_chart(figures.matrix(result.transfer, setup.short, what), "matrix", on_select=pick, alt=how)
    st.caption(how)
    pairs(setup, result)


def live(setup: Setup, result: Matrix) -> None:
    """The rows so far."""
    show_chart(figures.matrix(result.transfer, setup.short, sources=setup.models), "matrix_live")


def sentence(setup: Setup, result: Matrix) -> str:
    """The mean, the strongest and the weakest transfer, with numbers; of the sources that were measured."""
    names, between = setup.names, [row for row in result.rows() if row["source"] != row["target"]]
    best, worst = (most(between, key=lambda row: row["success"]) for most in (max, min))
    mean = sum(row["success"] for row in between) / len(between)
    sources = [names[key] for key in result.transfer.sources]
    made = "Made on one model" if result.complete else f"So far, made on {listed(sources)}"
    told = f"{made}, the images fool another model **{mean:.0%}** of the time"
    if best["success"] == worst["success"]:
        return f"{told}."

    def pair(row: Mapping[str, Any]) -> str:
        alike = sum(other["success"] == row["success"] for other in between) - 1
        also = f", as {alike} other pair{'' if alike == 1 else 's'}" if alike else ""
        return f"from {names[row['source']]} to {names[row['target']]} (**{row['success']:.0%}**{also})"

    return f"{told}; most often {pair(best)}, least often {pair(worst)}."


def doing(setup: Setup) -> str:
    """What the progress bar says."""
    return f"Attacking {len(setup.models)} models with {setup.method.spec.name}"


def files(setup: Setup, result: Matrix) -> Sequence[Offer]:
    """The attacked images of every source as arrays."""
    return (Offer("Images (.npz)", "npz", "application/octet-stream", lambda: archive(arrays(result))),)


def arrays(result: Matrix) -> dict[str, Tensor]:
    """`x/SOURCE` [M,C,H,W], the classes seen in them `predictions` [S,T,M], and which images count, `rows` [M]."""
    of = result.transfer
    return {f"x/{source}": x for source, x in of.x.items()} | {"predictions": of.predictions, "rows": of.rows}


def command(setup: Setup, result: Matrix) -> str:
    """The command that measures the matrix again."""
    given = " ".join(f"--param {name}={_plain(value)}" for name, value in setup.method.values if value is not None)
    return (
        f"python -m lab transfer --models {','.join(map(name_elsewhere, setup.models))} "
        f"--attack {result.attack} --dataset {result.dataset} --limit {setup.count} --seed {result.seed} {given}"
    )


def _plain(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


PAGE: Page[Setup, Matrix] = Page(
    name=NAME,
    title="Transfer",
    icon=":material/swap_horiz:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    live=live,
    tabs={
        "What makes it transfer": sweeps,
        "Ensembles": ensembles,
        "Maxout, softmax, RBF": trio,
        "Disjoint training sets": disjoint,
    },
    command=command,
    files=files,
    doing=doing,
    button="Attack every model",
)
