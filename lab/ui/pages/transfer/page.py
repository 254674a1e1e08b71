"""The parts of the Transfer page: images made to fool one model, shown to models that were never touched."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import streamlit as st

from lab.data import load_data
from lab.data.catalog import TASKS, of_task
from lab.experiments.transfer import szegedy
from lab.experiments.transfer.agreement import Agreement, agreement
from lab.experiments.transfer.matrix import Cell, Transfer, stream, transfer
from lab.figures import transfer as figures
from lab.figures.transfer import Point, What
from lab.models.cards import Card
from lab.models.catalog import find_model, name_elsewhere
from lab.models.ensemble import Ensemble, Fuse
from lab.params import Value
from lab.statistics import wilson
from lab.types import DataError
from lab.ui.parts.pickers import pick_method, start_sizes
from lab.ui.parts.result import load_all, run_button
from lab.ui.parts.scenario import Method
from lab.ui.parts.show import show_chart, show_tabs
from lab.ui.parts.tiles import stacks, thumbnail
from lab.ui.shell import trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.cache import first_images
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_here
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.say import attempt

PREFIX = "t_"
ASK = Ask(PREFIX.rstrip("_"))
"""Of the widgets' keys, and so of the parameters in links."""
START: Mapping[str, tuple[str, ...]] = {
    "mnist": ("softmax", "mlp", "maxout", "rbf", "cnn_half_a", "cnn_half_b", "cnn_pgd_at"),
    "fashion_mnist": ("softmax", "mlp", "maxout", "rbf", "cnn_half_a", "cnn_half_b", "cnn_pgd_at"),
    "imagenet": ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
}
"""Models to begin with, by task."""
DEFAULT_ATTACK = "mi_fgsm"
TRIO = ("maxout", "softmax", "rbf")
"""The models of Goodfellow et al. 2015, section 8, the source first."""
TRIO_EPS = {"mnist": 0.25, "fashion_mnist": 0.1}
TRIO_IMAGES = 1000
COUNTS = (20, 50, 100, 200, 500, 1000)
PAIRS = 6
"""Image pairs shown of a cell."""
SWEEPS: Mapping[str, tuple[str, str, tuple[float, ...], Mapping[str, tuple[str, Mapping[str, Any]]]]] = {
    "Iterations": (
        "steps",
        "iterations",
        (1, 2, 4, 6, 8, 10, 15, 20),
        {"I-FGSM": ("bim", {}), "MI-FGSM": ("mi_fgsm", {})},
    ),
    "Momentum": ("momentum", "momentum μ", (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2), {"MI-FGSM": ("mi_fgsm", {})}),
    "Input diversity": (
        "diversity",
        "probability of shrinking and shifting",
        (0, 0.25, 0.5, 0.75, 1),
        {"DI-FGSM": ("di_fgsm", {}), "with momentum": ("di_fgsm", {"momentum": 1.0})},
    ),
    "Epsilon": (
        "eps",
        "epsilon (n/255)",
        (0.25, 0.5, 0.75, 1, 1.5, 2),
        {"I-FGSM": ("bim", {}), "MI-FGSM": ("mi_fgsm", {})},
    ),
}
"""What is varied: its parameter, the axis, the values (of epsilon: times the chosen one), and the attacks."""


@dataclass(frozen=True)
class Setup:
    """What one matrix depends on."""

    task: str
    models: tuple[str, ...]
    count: int
    method: Method
    seed: int

    @property
    def key(self) -> Hashable:
        """What the result depends on."""
        return (self.task, self.models, self.count, self.method.spec.key, tuple(self.method.params.items()), self.seed)

    @property
    def names(self) -> dict[str, str]:
        """The models' names, for a person, by key."""
        return {key: _card(key).name for key in self.models}

    @property
    def eps(self) -> float | None:
        """The chosen epsilon, where the attack has one in L-infinity."""
        found = self.method.params.get("eps")
        return float(found) if found is not None and self.method.params.get("norm", "linf") == "linf" else None


@dataclass(frozen=True)
class Shown:
    """A matrix, as far as it came."""

    setup: Setup
    found: Transfer

    @property
    def key(self) -> Hashable:
        """What further results depend on."""
        return self.setup.key, len(self.found.sources)


def _card(key: str) -> Card:
    return find_model(key).card()


def choose() -> Setup | None:
    """Draws the settings in the sidebar; None where they cannot be used, after saying why."""
    with st.sidebar:
        return attempt(_choose)


def _choose() -> Setup | None:
    task = ASK.task(START, _new_task)
    chosen = ASK.models(task, START[task], "Each is attacked, and each is shown the images of all.")
    offered = trained.keys(task)
    count = len(load_data(_dataset(task), card=_card(offered[0])))
    if task != "imagenet":
        count = int(
            st.select_slider(
                "Images",
                COUNTS,
                100,
                key=f"{PREFIX}count",
                bind="query-params",
                help="The first images of the set. Only those that all models class right count.",
            )
        )
    method = pick_method(ASK, _card(offered[0]), DEFAULT_ATTACK)
    seed = int(st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params"))
    if len(chosen) < 2:
        raise DataError("choose at least two models: transfer is what happens between them")
    return None if method is None else Setup(task, chosen, count, method, seed)


def _new_task() -> None:
    """Another data set needs other sizes of perturbation."""
    for name, size in start_sizes(str(st.session_state[f"{PREFIX}task"])).items():
        st.session_state[PREFIX + name] = size


def _dataset(task: str) -> str:
    return of_task(task).key


def settle(setup: Setup | None) -> Setup | None:
    """Draws the run button; returns the matrix that is to be shown."""
    return run_button(setup, "transfer", "Attack every model", lambda s: forget("transfer", s.key))


def computed(setup: Setup) -> Shown | None:
    """The matrix, or as many of its rows as there were when it was stopped; None while it is at work."""

    def work(job: Job) -> Transfer:
        loaded = load_all(setup.models, job)
        data = first_images(setup.models, setup.count)

        def watch(share: float, name: str) -> None:
            job.tell(share, f"attacking {_card(name).name}")

        for found in stream(
            loaded,
            loaded,
            data.x,
            data.y,
            setup.method.spec.key,
            seed=setup.seed,
            cancel=job.cancelled,
            watch=watch,
            **setup.method.params,
        ):
            if found.sources:
                job.partial = found
        job.tell(1.0)
        return found

    def live(found: Transfer) -> None:
        with st.container(key="so_far"):
            show_chart(figures.matrix(found, setup.names), "matrix_live")

    label = f"Attacking {len(setup.models)} models with {setup.method.spec.name}"
    found = outcome("transfer", setup.key, label, work, live)
    return Shown(setup, found) if found and found.sources else None


def show(shown: Shown) -> None:
    """The verdict, the matrix, and the images behind one of its cells."""
    found, names = shown.found, shown.setup.names
    st.markdown(f"### {sentence(shown)}")
    drawn = st.segmented_control(
        "Shown in the cells",
        list(WHAT),
        default="success",
        required=True,
        key=f"{PREFIX}what",
        format_func=lambda w: WHAT[w][0],
        label_visibility="collapsed",
    )
    what: What = next(w for w in get_args(What) if w == drawn)
    show_chart(
        figures.matrix(found, names, what),
        "matrix",
        f"{WHAT[what][1]} The {found.n} images that all of these models class right, of {shown.setup.count}; a model "
        "shown its own images is outlined. Click a cell for the images behind it.",
        on_select=_picked,
    )
    pairs(shown)


WHAT: Mapping[str, tuple[str, str]] = {
    "success": ("Misclassified", "How often the column's model misclassifies the row's images, with a 95% interval."),
    "agreement": (
        "Same wrong class, where both err",
        "Of the images that fool both models, how often they see the same wrong class; one in nine would be chance "
        "among ten classes.",
    ),
    "same": (
        "Same wrong class, of all that fool the source",
        "Of the images that fool the row's model, how often the column's model sees the same wrong class.",
    ),
}
"""What the cells can show: its name, and what it means."""


def sentence(shown: Shown) -> str:
    """The strongest and the weakest transfer, with numbers."""
    found, names = shown.found, shown.setup.names
    between = [
        (cell, s, t)
        for s, row in zip(found.sources, found.cells, strict=True)
        for t, cell in zip(found.targets, row, strict=True)
        if s != t
    ]
    best, worst = max(between, key=lambda b: b[0].success), min(between, key=lambda b: b[0].success)
    mean = sum(cell.success for cell, _, _ in between) / len(between)
    return (
        f"Made on one model, the images fool another **{mean:.0%}** of the time; most from {names[best[1]]} to "
        f"{names[best[2]]} (**{best[0].success:.0%}**), least from {names[worst[1]]} to {names[worst[2]]} "
        f"(**{worst[0].success:.0%}**)."
    )


def _picked() -> None:
    """Called when a cell is clicked."""
    points = st.session_state["matrix"].selection.points
    if points:
        source, target = points[0]["customdata"]
        st.session_state["_cell"] = int(source), int(target)


def pairs(shown: Shown) -> None:
    """Images of one cell: clean, as attacked, and what both models see."""
    found, names, card = shown.found, shown.setup.names, _card(shown.setup.models[0])
    picked = st.session_state.pop("_cell", None)
    for key, options, index in (
        (f"{PREFIX}source", found.sources, 0),
        (f"{PREFIX}target", found.targets, 1),
    ):
        if picked is not None and picked[index] < len(options):
            st.session_state[key] = options[picked[index]]
        elif st.session_state.get(key) not in options:
            st.session_state[key] = options[index % len(options)]
    left, right = st.columns(2)
    source = left.selectbox("Made on", found.sources, key=f"{PREFIX}source", format_func=names.__getitem__)
    target = right.selectbox("Shown to", found.targets, key=f"{PREFIX}target", format_func=names.__getitem__)
    s, t = found.sources.index(source), found.targets.index(target)
    data = first_images(shown.setup.models, shown.setup.count)
    y = data.y[found.rows]
    seen = found.predictions[s, t]
    trained = found.predictions[s, found.targets.index(source)]
    order = (seen != y).long().argsort(descending=True, stable=True)[:PAIRS].tolist()
    st.caption(
        f"Above, clean; below, attacked: what {names[target]} sees, those that fool it first. In brackets, what "
        f"{names[source]} sees."
    )
    clean = [(thumbnail(data.x[found.rows[i]]), card.classes[int(y[i])]) for i in order]
    attacked = [
        (thumbnail(found.x[source][i]), f"{card.classes[int(seen[i])]} ({card.classes[int(trained[i])]})")
        for i in order
    ]
    stacks(zip(clean, attacked, strict=True))


def trio(shown: Shown) -> None:
    """Agreement on the wrong class for maxout, softmax and RBF, beside the paper's figures."""
    task = shown.setup.task if shown.setup.task in TRIO_EPS else "mnist"
    eps, maxout, softmax, rbf = TRIO_EPS[task], *TRIO
    st.markdown(
        f"One FGSM step of {eps:g} on the maxout net of {TASKS[task]}, not clipped, as in the paper. On the images "
        "that fool the maxout net, how often do the others see **the same wrong class**?"
    )

    def work(job: Job) -> Agreement:
        loaded = load_all([f"{task}/{name}" for name in TRIO], job)
        data = load_data(_dataset(task)).rows(slice(0, TRIO_IMAGES))
        job.tell(0.3, "asking all three")
        return agreement(maxout, dict(zip(TRIO, loaded.values(), strict=True)), data.x, data.y, eps)

    found = outcome("trio", task, "Attacking the maxout net", work)
    if found is None:
        return
    rows = [
        ("softmax regression, on all the maxout net's mistakes", found.same[softmax], "54.6%"),
        ("softmax regression, where both err", found.both[softmax], "84.6%"),
        ("RBF net, on all the maxout net's mistakes", found.same[rbf], "16.0%"),
        ("RBF net, where both err", found.both[rbf], "54.3%"),
        ("RBF net as softmax regression, where both err", found.between[softmax, rbf], "53.6%"),
        ("pure noise in which the maxout net is more than half sure of a class", found.rubbish[maxout], "98.4%"),
        ("the same of softmax regression", found.rubbish[softmax], "59.8%"),
        ("the same of the RBF net", found.rubbish[rbf], "0%"),
    ]
    table = [
        {"the same wrong class as the maxout net": name, "here": _percent(value), "in the paper": paper}
        for name, value, paper in rows
    ]
    st.dataframe(table, hide_index=True, width="stretch", key="trio")
    st.caption(
        f"{found.n:,} images. Goodfellow et al. 2015, section 8 and appendix A, on MNIST: models learn alike "
        "linear parts from the same data, and so make the same mistakes. The RBF net's units answer only near what "
        "they know, so that in pure noise it is sure of nothing."
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def what_helps(shown: Shown) -> None:
    """Success on other models as one setting of the attack varies."""
    setup = shown.setup
    left, right = st.columns(2)
    varied = str(left.segmented_control("Vary", list(SWEEPS), default="Iterations", required=True, key=f"{PREFIX}vary"))
    source = right.selectbox("Source", setup.models, key=f"{PREFIX}sweep_source", format_func=setup.names.__getitem__)
    name, axis, values, lines = SWEEPS[varied]
    eps = setup.eps or float(start_sizes(setup.task)["eps"] or 0) / 255
    steps = int(setup.method.params.get("steps") or 10)

    def work(job: Job) -> dict[str, list[Point]]:
        loaded = load_all(setup.models, job)
        data = first_images(setup.models, setup.count)
        found: dict[str, list[Point]] = {line: [] for line in lines}
        done, total = 0, len(lines) * len(values)
        for line, (attack, params) in lines.items():
            for value in values:
                job.tell(0.1 + 0.9 * done / total, f"{line}, {axis} {value:g}")
                given: dict[str, Any] = {"eps": eps, "steps": steps, **params}
                given[name] = eps * value if name == "eps" else int(value) if name == "steps" else value
                one = transfer(
                    {source: loaded[source]},
                    loaded,
                    data.x,
                    data.y,
                    attack,
                    seed=setup.seed,
                    cancel=job.cancelled,
                    **given,
                )
                if not one.sources:
                    return found
                at = eps * value * 255 if name == "eps" else value
                found[line].append(_point(at, source, one))
                done += 1
                job.partial = {k: list(v) for k, v in found.items()}
        return found

    def live(found: dict[str, list[Point]]) -> None:
        show_chart(figures.sweep(found, axis), "sweep_live")

    found = outcome(
        "sweep", (setup.key, varied, source), f"Varying {varied.lower()} on {setup.names[source]}", work, live
    )
    if not found:
        return
    show_chart(
        figures.sweep(found, axis),
        "sweep",
        f"Images made on {setup.names[source]}: solid, how often a model misclassifies them that was never touched "
        f"(mean over the other {len(setup.models) - 1}, with a 95% interval); dotted, the source itself. "
        f"{NOTES[varied]}",
    )


NOTES = {
    "Iterations": "Dong et al. 2018: as its iterations grow, I-FGSM fits the source and transfers worse, while MI-FGSM "
    "keeps its transfer. On 28 x 28 images a single step transfers as well as many, and momentum gains little: "
    "measured here at -2 to +5 points. On photographs the gain is large.",
    "Momentum": "Dong et al. 2018 find the best transfer at a momentum of 1.",
    "Input diversity": "Xie et al. 2019: shrinking and shifting the image at random before each gradient keeps the "
    "attack from fitting the source.",
    "Epsilon": "Larger perturbations transfer better; they are also seen better.",
}
"""What the papers found, and what holds here."""


def _point(at: float, source: str, found: Transfer) -> Point:
    trained = found.cells[0][found.targets.index(source)]
    others = [cell for t, cell in zip(found.targets, found.cells[0], strict=True) if t != source]
    fooled, n = sum(cell.fooled for cell in others), found.n * len(others)
    return Point(at, trained.success, fooled / n, *wilson(fooled, n))


def ensembles(shown: Shown) -> None:
    """One model held out: images made on each other model, and on all others fused in three ways."""
    setup = shown.setup
    if len(setup.models) < 3:
        st.info("An ensemble with a held-out model needs at least three models.")
        return
    held = st.selectbox(
        "Held-out model", setup.models, key=f"{PREFIX}held", format_func=setup.names.__getitem__, index=0
    )
    others = [key for key in setup.models if key != held]

    def work(job: Job) -> dict[str, Cell]:
        loaded = load_all(setup.models, job)
        data = first_images(setup.models, setup.count)
        made: dict[str, Any] = {setup.names[key]: loaded[key] for key in others}
        made |= {FUSED[fuse]: Ensemble([loaded[key] for key in others], fuse) for fuse in get_args(Fuse)}
        found: dict[str, Cell] = {}
        for one in stream(
            made,
            {held: loaded[held]},
            data.x,
            data.y,
            setup.method.spec.key,
            seed=setup.seed,
            cancel=job.cancelled,
            watch=lambda share, name: job.tell(share, name),
            **setup.method.params,
        ):
            found = {name: row[0] for name, row in zip(one.sources, one.cells, strict=True)}
            job.partial = found or None
        return found

    def live(found: dict[str, Cell]) -> None:
        show_chart(figures.bars(found, list(FUSED.values())), "ensemble_live")

    label = f"Attacking the other {len(others)} models, one by one and together"
    found = outcome("ensemble", (setup.key, held), label, work, live)
    if not found:
        return
    show_chart(
        figures.bars(found, list(FUSED.values())),
        "ensemble",
        f"How often {setup.names[held]} misclassifies images of {setup.method.spec.name} made without it: on each "
        "other model alone (gray), and on all of them at once. Dong et al. 2018 (table 2) find fused logits best.",
    )


FUSED: Mapping[Fuse, str] = {
    "logits": "all, fused in logits",
    "probabilities": "all, fused in probabilities",
    "loss": "all, fused in loss",
}


def disjoint(shown: Shown) -> None:
    """The tables of Szegedy et al., measured beside reported."""
    measured, reported = szegedy.load(), szegedy.REPORTED
    st.markdown(
        "The first paper on adversarial examples (Szegedy et al. 2013) let small nets on MNIST learn from the same "
        "images, and from halves that share none, and showed each the others' images. Here are its tables, measured "
        "with this lab, **the paper's figure in brackets** where it is known."
    )
    st.markdown("**Table 1: how far the nearest adversarial image is** (L-BFGS; root mean square change of a pixel)")
    rows = [
        {
            "net": net.name,
            "training error": _beside(net.train_error, paper.train_error, "%"),
            "test error": _beside(net.test_error, paper.test_error, "%"),
            "mean distortion": _beside(net.distortion, paper.distortion),
        }
        for net, paper in zip(measured.tables.nets, reported.nets, strict=True)
    ]
    st.dataframe(rows, hide_index=True, width="stretch", key="table1")
    for key, title, found, known in (
        ("table2", "Table 2: the same training images, other nets", measured.tables.transfer, reported.transfer),
        ("table3", "Table 3: training images that share none", measured.tables.halves, reported.halves),
        ("table4", "Table 4: the same, amplified to 0.1", measured.tables.amplified, reported.amplified),
    ):
        st.markdown(f"**{title}** (error of the column's net on images made for the row's, %)")
        st.dataframe(_errors(found, known), hide_index=True, width="stretch", key=key)
    st.caption(
        f"FC100-100-10' learned from the other half of the training images. Measured on {measured.n} test images a "
        f"net; errors include those that a net makes anyway. `{measured.command}` measures it again. A net's images "
        "fool nets that never saw its training images: the blind spots are not those of one training."
    )


def _beside(here: float, paper: float | None, unit: str = "") -> str:
    shown = f"{here:.3g}{unit}"
    return shown if paper is None else f"{shown} ({paper:.3g}{unit})"


def _errors(found: szegedy.Errors, known: szegedy.Errors) -> list[dict[str, str]]:
    rows = []
    for row, cells in zip(found.rows, found.percent, strict=True):
        told = {"made for": row}
        for column, value in zip(found.columns, cells, strict=True):
            paper = known.at(row, column) if row in known.rows and column in known.columns else None
            told[column] = "" if value is None else _beside(round(value, 1), paper)
        rows.append(told)
    return rows


def take_away(shown: Shown) -> None:
    """Files with the matrix, the command that measures it again, and the link."""
    setup, found = shown.setup, shown.found
    told = {
        "attack": setup.method.spec.key,
        "params": dict(setup.method.params),
        "seed": setup.seed,
        "dataset": _dataset(setup.task),
        "images": found.n,
        "sources": found.sources,
        "targets": found.targets,
        "cells": [[asdict(cell) for cell in row] for row in found.cells],
        "distortion": found.distortion,
    }
    file = io.StringIO()
    write_cells(found, file)
    everything = json.dumps(told, indent=2)
    offers = (
        Offer("Matrix (.csv)", "csv", "text/csv", file.getvalue()),
        Offer("Everything (.json)", "json", "application/json", everything),
    )
    offer_files("transfer", "transfer", offers)
    st.markdown("**The command that measures it again**")
    given = " ".join(f"--param {k}={_plain(v)}" for k, v in setup.method.params.items() if v is not None)
    st.code(
        f"python -m lab transfer --models {','.join(map(name_elsewhere, setup.models))} "
        f"--attack {setup.method.spec.key} --dataset {_dataset(setup.task)} --limit {setup.count} "
        f"--seed {setup.seed} {given}",
        language="bash",
        wrap_lines=True,
    )
    link_here("The link to this page")


def write_cells(found: Transfer, file: io.StringIO) -> None:
    """Writes a CSV with a line for each source and target."""
    writer = csv.writer(file)
    writer.writerow(["source", "target", "n", *asdict(found.cells[0][0])])
    for s, row in zip(found.sources, found.cells, strict=True):
        for t, cell in zip(found.targets, row, strict=True):
            writer.writerow([s, t, found.n, *asdict(cell).values()])


def _plain(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


TABS: Mapping[str, Callable[[Shown], None]] = {
    "What makes it transfer": what_helps,
    "Ensembles": ensembles,
    "Maxout, softmax, RBF": trio,
    "Disjoint training sets": disjoint,
    "Take away": take_away,
}


def details(shown: Shown) -> None:
    """The tabs; each is computed when it is opened."""
    show_tabs(TABS, "transfer_tabs", shown)


def _body() -> None:
    setup = settle(choose())
    if setup is None:
        st.info("Choose settings that work in the sidebar; the reason is written there.")
        return
    shown = computed(setup)
    if shown is not None:
        with st.container(key="result"):
            show(shown)
            details(shown)


PAGE: Page[Any, Any] = Page(
    name="transfer",
    title="Transfer",
    icon=":material/swap_horiz:",
    about=prose("transfer", "About"),
    shared=False,
    body=_body,
)
