"""The view of all models: the zoo's and the person's, under attackers of rising strength."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lab.experiments.defenses.leaderboard import STEPS, accuracies, transferred
from lab.figures.attack import scaled
from lab.models.catalog import find_model, is_here
from lab.ui.parts.result import run_button
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.cache import first_images
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_here
from lab.ui.shell.say import attempt

PREFIX = "z_"
SOURCES = {"mnist": "mnist/mlp", "fashion_mnist": "fashion_mnist/mlp"}
"""The model that the images of the transfer column are made on, to begin with."""
STATED = {"mnist": 0.3, "fashion_mnist": 0.1}
"""Epsilon to begin with, at which the cards state AutoAttack."""
COUNTS = (20, 50, 100, 200, 500)
NEAR = 0.02
"""Shares that differ by less are called alike."""
NAMES = {
    "clean": "Clean",
    "fgsm": "FGSM",
    "pgd": f"PGD-{STEPS}",
    "transfer": "Transfer",
    "autoattack": "AutoAttack",
}


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

    @property
    def key(self) -> Hashable:
        """As `Keyed`."""
        return self


Rows = tuple[tuple[str, dict[str, float]], ...]
"""Models by key, with their accuracies by column."""


def view() -> None:
    """Draws everything."""
    with st.sidebar:
        wanted = attempt(_choose)
    setup = run_button(wanted, "zoo", "Measure", lambda s: forget("zoo", s.key))
    if setup is None:
        st.info("Choose settings that work in the sidebar; the reason is written there.")
        return
    found = _computed(setup)
    if found:
        with st.container(key="result"):
            st.markdown(f"### {_sentence(setup, found)}")
            _table(setup, found)
            _take_away(setup, found)


def _choose() -> Setup:
    task = Ask(PREFIX.rstrip("_")).task(STATED)
    eps = float(
        st.number_input(
            "Epsilon (n/255)", 0.25, 255.0, 255 * STATED[task], key=f"{PREFIX}eps_{task}", bind="query-params"
        )
    )
    count = int(st.select_slider("Images", COUNTS, 50, key=f"{PREFIX}count", bind="query-params"))
    models = [key for key in trained.keys(task) if is_here(key)]
    source = str(
        st.selectbox(
            "Transfer from",
            models,
            models.index(SOURCES[task]),
            key=f"{PREFIX}source_{task}",
            bind="query-params",
            format_func=lambda k: find_model(k).card().name,
            help="MI-FGSM makes its images on this model, and all others are shown them.",
        )
    )
    full = st.toggle(
        "AutoAttack on my models",
        key=f"{PREFIX}full",
        help="The zoo's figures come from the cards. On a model that holds it takes minutes.",
        disabled=not trained.mine(),
    )
    seed = int(st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params"))
    return Setup(task, tuple(models), eps / 255, count, source, bool(full), seed)


def _computed(setup: Setup) -> Rows | None:
    mine = set(trained.mine())

    def work(job: Job) -> Rows:
        job.tell(0.0, "making the images that are to transfer")
        data = first_images(setup.models, setup.count)
        made = transferred(cache.model(setup.source), data.x, data.y, setup.eps, setup.seed)
        found: Rows = ()
        for k, key in enumerate(setup.models):
            job.tell(k / len(setup.models), find_model(key).card().name)
            row = accuracies(
                cache.model(key),
                data.x,
                data.y,
                setup.eps,
                made=None if key == setup.source else made,
                autoattack=setup.full and key in mine,
                seed=setup.seed,
                cancel=job.cancelled,
            )
            job.partial = found = (*found, (key, row))
        return found

    def live(found: Rows) -> None:
        with st.container(key="so_far"):
            _table(setup, found)

    return outcome("zoo", setup.key, f"Attacking {len(setup.models)} models", work, live)


def _sentence(setup: Setup, found: Rows) -> str:
    """Who keeps something under the worst of these attacks, and how many keep nothing."""
    kept = {row["Model"]: min(v for v in row.values() if isinstance(v, float)) for row in _rows(setup, found)}
    if not kept:
        return "Stopped before the first model was measured."
    first, *others = sorted(kept, key=lambda name: -kept[name])
    near = [name for name in others if kept[name] > kept[first] - NEAR]
    told = " and ".join(f"**{name}** ({kept[name]:.0%})" for name in (first, *near))
    rest = max((kept[name] for name in others if name not in near), default=None)
    keeps = "keep" if near else "keeps"
    beyond = "" if rest is None else f"; of the others none keeps more than {rest:.0%}"
    return f"Under the worst of these attacks {told} {keeps} most{beyond}."


def _rows(setup: Setup, found: Rows) -> list[dict[str, Any]]:
    told = []
    for key, row in found:
        card = find_model(key).card()
        measured = card.measured("autoattack", setup.eps)
        values = {NAMES[name]: row.get(name) for name in NAMES}
        if row.get("autoattack") is None and measured is not None:
            values[NAMES["autoattack"]] = measured.accuracy
        told.append({"Model": card.name, **values})
    full = NAMES["autoattack"]
    return sorted(told, key=lambda row: -(row[full] if row[full] is not None else row[NAMES["pgd"]] or 0))


def _table(setup: Setup, found: Rows) -> None:
    percent = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width=96)
    st.dataframe(
        _rows(setup, found),
        hide_index=True,
        width="stretch",
        height="content",
        key="zoo_table",
        column_config=dict.fromkeys(NAMES.values(), percent) | {"Model": st.column_config.TextColumn(width="medium")},
    )
    source = find_model(setup.source).card().name
    st.caption(
        f"Accuracy on the first {setup.count} test images at {scaled(setup.eps, 'linf')} (L∞). Transfer: MI-FGSM's "
        f"images made on {source}, empty for that model itself. AutoAttack: the cards' figures on 1,000 official test "
        "images, empty where none was measured at this epsilon. Much under PGD and nothing under "
        "AutoAttack, or less under transfer than under PGD, is the mark of hidden gradients."
    )


def _take_away(setup: Setup, found: Rows) -> None:
    rows = _rows(setup, found)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    about = {"task": setup.task, "eps": setup.eps, "images": setup.count, "source": setup.source, "seed": setup.seed}
    offer_files(
        "models",
        "zoo",
        (
            Offer("Table (.csv)", "csv", "text/csv", text.getvalue()),
            Offer("Table (.json)", "json", "application/json", json.dumps(about | {"rows": rows}, indent=2)),
        ),
    )
    link_here("The link to this page")
