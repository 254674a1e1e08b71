"""The view of all models: the lab's and the person's own, under attackers of rising strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import streamlit as st

from lab.data.catalog import of_task
from lab.experiments.defenses.leaderboard import COLUMNS, Leaderboard, accuracies, entry, transferred
from lab.figures.attack import scaled
from lab.models.cards import REFERENCE_EPS
from lab.models.catalog import find_model, is_here
from lab.models.trained import is_own
from lab.progress import Progress
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask, model_name
from lab.ui.shell.cache import first_images
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.words import listed

NAME = "leaderboard"
SOURCES = {"mnist": "mnist/mlp", "fashion_mnist": "fashion_mnist/mlp"}
"""The model that the images of the transfer column are made on, to begin with."""
COUNTS = (20, 50, 100, 200, 500)
SPOKEN = {"transfer": "images made on another model"}
"""Columns that are called otherwise within a sentence."""
NEAR = 0.02
"""Shares that differ by less are called alike."""


@dataclass(frozen=True)
class Setup:
    """What the table depends on."""

    task: str
    models: tuple[str, ...]
    eps: float
    count: int
    source: str
    full: bool
    seed: int


def choose(ask: Ask) -> Setup:
    """Draws the settings."""
    task = ask.task(REFERENCE_EPS)
    eps = ask.epsilon(255 * REFERENCE_EPS[task], name=f"eps_{task}")
    count = ask.images(COUNTS, 50)
    models = [key for key in trained.keys(task) if is_here(key)]
    source = ask.model(
        task,
        SOURCES[task],
        "Transfer from",
        f"source_{task}",
        help="MI-FGSM makes its images on this model, and they are shown to all others.",
    )
    full = ask.toggle(
        "full",
        "AutoAttack on my models",
        linked=False,
        help="The figures of the lab's models come from their cards. On a model that holds out, it takes minutes.",
        disabled=not trained.mine(),
    )
    return Setup(task, tuple(models), eps, count, source, full, ask.seed())


def compute(setup: Setup, progress: Progress) -> Iterator[Leaderboard]:
    """The table, after every model."""
    progress.tell(0.0, "making the images that are to transfer")
    data = first_images(setup.models, setup.count)
    made = transferred(cache.model(setup.source), data.x, data.y, setup.eps, setup.seed, progress)
    dataset = of_task(setup.task).key
    about = setup.task, dataset, setup.eps, len(data.y), setup.source, setup.seed
    result = Leaderboard((), *about, asked=len(setup.models))
    for k, key in enumerate(setup.models):
        part = progress.part(k / len(setup.models), (k + 1) / len(setup.models), key)
        part.tell(0.0)
        values = accuracies(
            cache.model(key),
            data.x,
            data.y,
            setup.eps,
            made=None if key == setup.source else made,
            autoattack=setup.full and is_own(key),
            seed=setup.seed,
            progress=part,
        )
        result = replace(result, entries=(*result.entries, entry(find_model(key).card(), setup.eps, values)))
        yield result
    progress.check()


def show(setup: Setup, result: Leaderboard) -> None:
    """The verdict and the table."""
    st.markdown(f"### {sentence(result)}")
    table(setup, result)


def sentence(result: Leaderboard) -> str:
    """Who keeps most under the worst of the attacks that all these models have undergone, and what the others keep.

    Of a run that was stopped, of the models that were measured to their end.
    """
    entries = [e for e in result.ranked if "pgd" in e.accuracies]
    if not entries:
        return "No model was attacked to the end."
    alike = [
        column
        for column in COLUMNS
        if all(e.values[column] is not None for e in entries if not (column == "transfer" and e.model == result.source))
    ]
    kept = {e.name: min(v for column in alike if (v := e.values[column]) is not None) for e in entries}
    first, *others = sorted(kept, key=lambda name: -kept[name])
    attacks = listed([SPOKEN.get(column, COLUMNS[column]) for column in alike if column != "clean"])
    of = "" if result.complete else f"Of the {len(kept)} models measured so far, under"
    if not others:
        return f"So far only **{first}** was measured: it keeps {kept[first]:.0%} under the worst of {attacks}."
    near = [name for name in others if kept[name] > kept[first] - NEAR]
    best = " and ".join(f"**{name}** ({kept[name]:.0%})" for name in (first, *near))
    rest = max((kept[name] for name in others if name not in near), default=None)
    beyond = "" if rest is None else f"; none of the others keeps more than {rest:.0%}"
    return f"{of or 'Under'} the worst of {attacks} {best} {'keep' if near else 'keeps'} the most accuracy{beyond}."


def table(setup: Setup, result: Leaderboard) -> None:
    """Every model's accuracies, best first."""
    percent = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width=96)
    st.dataframe(
        result.rows(),
        hide_index=True,
        width="stretch",
        height="content",
        key="models",
        column_config=dict.fromkeys(COLUMNS.values(), percent) | {"Model": st.column_config.TextColumn(width="medium")},
    )
    source, size = model_name(result.source), scaled(result.eps, "linf")
    st.caption(prose(NAME, "The table", n=result.images, size=size, source=source))


PAGE: Page[Setup, Leaderboard] = Page(
    name=NAME,
    title="All models",
    icon=":material/leaderboard:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    live=table,
    doing=lambda setup: f"Attacking {len(setup.models)} models",
    stem=lambda setup: "models",
)
