"""The parts of the Robustness page: security curves, the leaderboard, and whether the numbers are to be believed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
import torch

from lab import attacks as all_attacks
from lab.attacks.catalog import find as find_attack
from lab.data.catalog import of_task
from lab.experiments.robustness.curves import ROOM, Outcome, evaluate, report, settings
from lab.experiments.robustness.sanity import Check
from lab.experiments.robustness.sanity import check as sanity_checks
from lab.figures import robustness as figures
from lab.figures.attack import scaled
from lab.models.cards import Card
from lab.models.catalog import find_model, is_here, name_elsewhere
from lab.types import LabError, ParamError
from lab.ui.parts.result import link_here, load_all, run_button
from lab.ui.parts.scenario import first_images, pick_models, pick_task
from lab.ui.parts.show import Offer, attempt, offer_files, show_chart, show_tabs
from lab.ui.shell import cache, trained
from lab.ui.shell.jobs import Job, forget, outcome

PREFIX = "s_"
"""Of the widgets' keys, and so of the parameters in links."""
START: Mapping[str, tuple[str, ...]] = {
    "mnist": ("cnn", "cnn_fgsm_at", "cnn_distilled", "cnn_pgd_at"),
    "fashion_mnist": ("cnn", "cnn_fgsm_at", "cnn_distilled", "cnn_pgd_at"),
    "imagenet": ("efficientnet_lite0",),
}
"""Models to begin with, by task."""
ATTACKS = ("fgsm", "pgd")
"""Attacks to begin with."""
LARGEST: Mapping[str, Mapping[str, float]] = {
    "linf": {"mnist": 76.5, "fashion_mnist": 25.5, "imagenet": 4.0},
    "l2": {"mnist": 4.0, "fashion_mnist": 2.0, "imagenet": 2.0},
}
"""Largest epsilon to begin with; in L-infinity in 255ths."""
STATED: Mapping[str, float] = {"mnist": 0.3, "fashion_mnist": 0.1}
"""Epsilon of the leaderboard (L-infinity), by task."""
COUNTS = (20, 50, 100, 200, 500, 1000)
SIZES = (3, 5, 7, 9, 13)
SEEMING = 0.2
"""An accuracy that is larger than AutoAttack's by this share is not believed."""
CHECKED = 50
"""Images of the sanity checks, at most."""
ROWS = 200
"""Images that the table shows, at most."""


@dataclass(frozen=True)
class Setup:
    """What the curves depend on."""

    task: str
    models: tuple[str, ...]
    attacks: tuple[str, ...]
    norm: str
    eps: tuple[float, ...]
    count: int | None
    steps: int
    seed: int

    @property
    def key(self) -> Hashable:
        """What the result depends on."""
        return (self.task, self.models, self.attacks, self.norm, self.eps, self.count, self.steps, self.seed)

    @property
    def names(self) -> dict[str, str]:
        """The models' names, for a person, by key."""
        return {key: _card(key).name for key in self.models}

    @property
    def methods(self) -> dict[str, str]:
        """The attacks' names, for a person, by key."""
        return {key: find_attack(key).name for key in self.attacks}


@dataclass(frozen=True)
class Shown:
    """Outcomes, as far as they came."""

    setup: Setup
    found: tuple[Outcome, ...]


def _card(key: str) -> Card:
    return find_model(key).card()


def choose() -> Setup | None:
    """Draws the settings in the sidebar; None where they cannot be used, after saying why."""
    with st.sidebar:
        return attempt(_choose)


def _choose() -> Setup:
    task = pick_task(PREFIX, START)
    chosen = pick_models(PREFIX, task, START[task])
    norm = str(
        st.segmented_control(
            "Norm",
            list(LARGEST),
            default="linf",
            required=True,
            key=f"{PREFIX}norm",
            bind="query-params",
            format_func=lambda n: {"linf": "L∞", "l2": "L2"}[n],
            width="stretch",
        )
    )
    fitting = [key for key in all_attacks.CATALOG if _fits(key, norm)]
    against = st.multiselect(
        "Attacks",
        fitting,
        [key for key in ATTACKS if key in fitting],
        key=f"{PREFIX}attacks_{norm}",
        bind="query-params",
        format_func=lambda k: find_attack(k).name,
        help="Those that search for the smallest perturbation give the whole curve at once; others run at every "
        "epsilon, on the images that still stand.",
    )
    pixels = norm == "linf"
    largest = st.number_input(
        "Largest epsilon" + (" (n/255)" if pixels else ""),
        0.1,
        255.0,
        LARGEST[norm][task],
        key=f"{PREFIX}eps_{norm}_{task}",
        bind="query-params",
    )
    left, right = st.columns(2)
    sizes = int(
        left.selectbox("Sizes", SIZES, 1, key=f"{PREFIX}sizes", bind="query-params", help="Of epsilon, with 0.")
    )
    steps = int(
        right.number_input(
            "Steps", 1, 1000, 40, key=f"{PREFIX}steps", bind="query-params", help="Of every attack that has steps."
        )
    )
    count = None
    if task != "imagenet":
        count = int(st.select_slider("Images", COUNTS, 50, key=f"{PREFIX}count", bind="query-params"))
    seed = int(st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params"))
    if not chosen or not against:
        raise ParamError("choose at least one model and one attack")
    top = float(largest) / (255 if pixels else 1)
    eps = tuple(top * k / (sizes - 1) for k in range(sizes))
    return Setup(task, chosen, tuple(against), norm, eps, count, steps, seed)


def _fits(key: str, norm: str) -> bool:
    """Whether an attack can be measured in this norm."""
    try:
        settings(key, norm, {})
    except LabError:
        return False
    return True


def settle(setup: Setup | None) -> Setup | None:
    """Draws the run button; returns what is to be shown."""
    return run_button(setup, "robustness", "Measure", lambda s: forget("robustness", s.key))


def computed(setup: Setup) -> Shown | None:
    """The curves, or as much of them as there was when they were stopped; None while they are at work."""

    def work(job: Job) -> tuple[Outcome, ...]:
        loaded = load_all(setup.models, job)
        data = first_images(setup.models, setup.count)
        found: tuple[Outcome, ...] = ()

        def watch(share: float, message: str) -> None:
            attack, _, key = message.rpartition(" on ")
            job.tell(share, f"{attack} on {setup.names[key]}")

        for found in evaluate(
            loaded,
            setup.attacks,
            data.x,
            data.y,
            setup.eps,
            norm=setup.norm,
            seed=setup.seed,
            cancel=job.cancelled,
            watch=watch,
            steps=setup.steps,
        ):
            job.partial = found
        job.tell(1.0)
        return found

    def live(found: tuple[Outcome, ...]) -> None:
        with st.container(key="so_far"):
            show_chart(figures.curves(found, setup.names, setup.methods), "curves_live")

    label = f"Attacking {len(setup.models)} model{'s' if len(setup.models) > 1 else ''}"
    found = outcome("robustness", setup.key, label, work, live)
    return Shown(setup, found) if found else None


def sentence(shown: Shown) -> str:
    """What the models that keep most and least keep at the largest epsilon, and which only seem to."""
    setup, ranked = shown.setup, ranking(shown)
    size = scaled(setup.eps[-1], setup.norm)

    def told(key: str) -> str:
        clean = next(o for o in shown.found if o.model == key).at(0).accuracy
        return (
            f"*{setup.names[key]}* still classes **{worst(shown, key, setup.eps[-1]):.0%}** right (clean {clean:.0%})"
        )

    least = f"; {told(ranked[-1])}" if len(ranked) > 1 else ""
    seeming = [
        f"*{setup.names[key]}* keeps {worst(shown, key, setup.eps[-1]):.0%} here and {card:.0%} under AutoAttack: "
        "its gradients are masked."
        for key in ranked
        if (card := _seems(shown, key)) is not None
    ]
    return " ".join([f"At {size}, under the worst of these attacks, {told(ranked[0])}{least}.", *seeming])


def _seems(shown: Shown, key: str) -> float | None:
    """A model's accuracy under AutoAttack on its card, where it is far below what these attacks leave; else None."""
    if shown.setup.norm != "linf":
        return None
    eps = shown.setup.eps[-1]
    full = _card(key).measured("autoattack", eps)
    return full.accuracy if full and worst(shown, key, eps) > full.accuracy + SEEMING else None


def ranking(shown: Shown) -> list[str]:
    """The models, the one first that keeps most at the largest epsilon."""
    measured = list(dict.fromkeys(o.model for o in shown.found))
    return sorted(measured, key=lambda key: -worst(shown, key, shown.setup.eps[-1]))


def worst(shown: Shown, model: str, eps: float) -> float:
    """The share of images that stand all attacks at this size."""
    stands = torch.stack([o.right & (o.needed > eps * ROOM) for o in shown.found if o.model == model]).all(0)
    return float(stands.double().mean())


def show(shown: Shown) -> None:
    """The verdict and the curves."""
    setup = shown.setup
    st.markdown(f"### {sentence(shown)}")
    show_chart(
        figures.curves(shown.found, setup.names, setup.methods),
        "curves",
        f"The first {len(shown.found[0].right)} test images, wrong ones included; bars are 95% intervals. A curve is "
        "no "
        "better than its attack: an image that stands may fall to another one. A model that does well may only hide "
        "its gradients, which *Can it be believed?* finds out. An image that falls at one size counts as fallen at all "
        "larger ones, so that a curve never rises, even where the attack is weaker at a larger size.",
    )


def details(shown: Shown) -> None:
    """The tabs; each is computed when it is opened."""
    tabs: Mapping[str, Callable[[Shown], None]] = {
        "Can it be believed?": checks,
        "Leaderboard": leaderboard,
        "Image by image": table,
        "Take away": take_away,
    }
    show_tabs(tabs, "robustness_tabs", shown)


def checks(shown: Shown) -> None:
    """The sanity checks of one model, each with its evidence."""
    setup = shown.setup
    options = sorted(ranking(shown), key=lambda key: _seems(shown, key) is None)  # first who seems better than it is
    key = st.selectbox("Model", options, key=f"{PREFIX}checked", format_func=setup.names.__getitem__)
    eps = setup.eps[-1] / 2 if setup.norm == "linf" else LARGEST["linf"][setup.task] / 510
    others = [k for k in trained.keys(setup.task) if k != key and is_here(k)]
    source = next((k for k in others if k.endswith(("/mlp", "/efficientnet_lite0"))), others[0] if others else None)
    st.caption(
        f"Seven questions to a robustness figure, after Carlini et al. 2019, at {scaled(eps, 'linf')} in L∞ on at most "
        f"{CHECKED} images. A red answer does not say that the model is weak: it says that the attack was, and that "
        "the "
        "figure is too good."
    )

    def work(job: Job) -> tuple[Check, ...]:
        job.tell(0.0, "loading")
        data = first_images(setup.models, setup.count).rows(slice(0, CHECKED if setup.task != "imagenet" else 8))
        found: list[Check] = []
        other = None if source is None else cache.model(source)
        for check in sanity_checks(
            cache.model(key), data.x, data.y, eps, source=other, seed=setup.seed, cancel=job.cancelled
        ):
            found.append(check)
            job.partial = tuple(found)
            job.tell(len(found) / 7, check.question)
        return tuple(found)

    slot = (key, setup.task, setup.count, eps, setup.seed)
    found = outcome("checks", slot, f"Questioning {setup.names[key]}", work, show_checks)
    if found:
        show_checks(found)


def show_checks(found: Sequence[Check]) -> None:
    """The answers so far, each with its evidence."""
    for k, check in enumerate(found):
        mark = {True: ":green[:material/check_circle:]", False: ":red[:material/cancel:]", None: ":material/help:"}
        with st.container(horizontal=True, vertical_alignment="center", key=f"check_{k}"):
            with st.container(width="stretch"):
                st.markdown(f"{mark[check.passed]} **{check.question}** {check.said}")
            if check.evidence:
                with st.popover("Evidence", width="content"):
                    st.dataframe(list(check.evidence), hide_index=True, key=f"evidence_{k}")


def leaderboard(shown: Shown) -> None:
    """The zoo of this data set under AutoAttack, as measured for the cards."""
    task = shown.setup.task
    if task not in STATED:
        st.info("The ImageNet models come as their authors trained them; none was measured under AutoAttack.")
        return
    eps = STATED[task]
    rows: list[dict[str, Any]] = []
    for key in trained.keys(task):
        card = _card(key)
        full, pgd = card.measured("autoattack", eps), card.measured("pgd", eps)
        rows.append(
            {
                "model": card.name,
                "AutoAttack": full.accuracy if full else None,
                "PGD": pgd.accuracy if pgd else None,
                "clean": card.accuracy,
                "images": full.n if full else None,
            }
        )
    rows.sort(key=lambda r: (-(r["AutoAttack"] if r["AutoAttack"] is not None else -1), -(r["clean"] or 0)))
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        key="leaderboard",
        column_config={"AutoAttack": percent, "PGD": percent, "clean": percent},
    )
    st.caption(
        f"Accuracy on the first images of the official test set under the lab's AutoAttack at {eps:g} "
        f"({scaled(eps, 'linf')}, "
        "L∞): APGD-CE, APGD-T, FAB-T and Square. PGD beside it: 50 steps, 2 starts. A large gap between the two is the "
        "mark of masked gradients. `python -m benchmarks.autoattack` measures it again."
        + (" Your own models were measured on held-out images when they were saved." if trained.mine() else "")
    )


def table(shown: Shown) -> None:
    """Which attack broke which image at what distance."""
    setup = shown.setup
    key = st.selectbox("Model", setup.models, key=f"{PREFIX}table_model", format_func=setup.names.__getitem__)
    outcomes = [o for o in shown.found if o.model == key]
    if not outcomes:
        st.info("This model was not measured yet.")
        return
    data, classes = first_images(setup.models, setup.count), _card(str(key)).classes
    unit = 255 if setup.norm == "linf" else 1
    rows = []
    for i in range(min(len(data.y), ROWS)):
        row: dict[str, Any] = {"image": data.ids[i], "class": classes[int(data.y[i])]}
        found = {o.attack: float(o.distance[i]) for o in outcomes}
        row["first broken by"] = "wrong when clean" if not outcomes[0].right[i] else _first(found, setup)
        for attack, distance in found.items():
            row[setup.methods[attack]] = None if distance == float("inf") else distance * unit
        rows.append(row)
    number = st.column_config.NumberColumn(format="%.3g")
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        key="by_image",
        column_config={setup.methods[o.attack]: number for o in outcomes},
    )
    st.caption(
        f"The size of the perturbation that broke each image{' (n/255)' if unit == 255 else ''}, at the smallest "
        "epsilon "
        f"that did; empty where it stands. The first {len(rows)} images; all are in the files."
    )


def _first(found: Mapping[str, float], setup: Setup) -> str:
    """The attacks that needed the smallest perturbation."""
    least = min(found.values())
    return (
        "none" if least == float("inf") else ", ".join(setup.methods[k] for k, v in found.items() if v <= least * ROOM)
    )


def take_away(shown: Shown) -> None:
    """Files with curves and images, the command that measures them again, and the link."""
    setup, ids = shown.setup, first_images(shown.setup.models, shown.setup.count).ids
    told = report(shown.found, ids) | {"dataset": of_task(setup.task).key, "seed": setup.seed, "steps": setup.steps}
    curves, images = io.StringIO(), io.StringIO()
    writer = csv.writer(curves)
    writer.writerow(["model", "attack", "norm", "eps", "accuracy", "low", "high", "images"])
    for o in shown.found:
        for p in o.curve:
            writer.writerow([o.model, o.attack, o.norm, p.eps, p.accuracy, p.low, p.high, len(o.right)])
    writer = csv.writer(images)
    writer.writerow(["model", "attack", "image", "right", "needed", "distance"])
    for o in shown.found:
        for name, right, needed, distance in zip(ids, o.right, o.needed, o.distance, strict=True):
            writer.writerow([o.model, o.attack, name, bool(right), float(needed), float(distance)])
    offer_files(
        "robustness",
        "robustness",
        (
            Offer("Curves (.csv)", "csv", "text/csv", curves.getvalue()),
            Offer("Images (.csv)", "images.csv", "text/csv", images.getvalue()),
            Offer("Everything (.json)", "json", "application/json", json.dumps(told, indent=2)),
        ),
    )
    st.markdown("**The command that measures it again**")
    st.code(
        f"python -m lab evaluate --models {','.join(map(name_elsewhere, setup.models))} "
        f"--attacks {','.join(setup.attacks)} --eps {','.join(f'{e:.6g}' for e in setup.eps)} --norm {setup.norm} "
        f"--dataset {of_task(setup.task).key} "
        f"--limit {len(ids)} --seed {setup.seed} --param steps={setup.steps}",
        language="bash",
        wrap_lines=True,
    )
    link_here("The link to this page")
