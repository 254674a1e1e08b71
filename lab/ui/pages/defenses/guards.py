"""The view of defenses that change or reject images: what they are worth to attackers who know them or not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from lab import devices
from lab.attacks.catalog import find_attack
from lab.data import load_data
from lab.data.catalog import TASKS, of_task
from lab.defenses.catalog import CATALOG, DETECTORS, defend, detector, transformation
from lab.defenses.detect import capsules_of
from lab.defenses.preprocess import BitDepth, Median
from lab.defenses.spec import Spec
from lab.experiments.defenses.attackers import Attackers, Detection, Trial, detected, distilled, transformed
from lab.experiments.robustness.sanity import Check
from lab.experiments.robustness.sanity import check as sanity_checks
from lab.figures import defenses as figures
from lab.figures.attack import scaled
from lab.images import Images
from lab.models.cards import Card
from lab.models.catalog import find_model, is_here
from lab.params import Value
from lab.predict import logits_of
from lab.types import Model
from lab.ui.parts.checks import show_checks
from lab.ui.parts.describe import short_citation
from lab.ui.parts.forms import form
from lab.ui.parts.result import load, run_button
from lab.ui.parts.show import show_chart, show_tabs
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_here
from lab.ui.shell.say import attempt

PREFIX = "d_"
"""Of the widgets' keys, and so of the parameters in links."""
DISTILLATION = "distillation"
START: Mapping[str, str] = {"mnist": "bit_depth", "fashion_mnist": "resize_pad", "imagenet": "jpeg"}
"""The defense to begin with, by task."""
LARGE: Mapping[str, float] = {"mnist": 102.0, "fashion_mnist": 8.0, "imagenet": 2.0}
"""Epsilon to begin with, in 255ths."""
NETS: Mapping[str, str] = {"mnist": "cnn", "fashion_mnist": "cnn", "imagenet": "efficientnet_lite0"}
"""The model to begin with."""
ATTACKS = ("pgd", "fgsm", "bim", "mi_fgsm", "cw")
COUNTS = {"mnist": (20, 50, 100, 200, 500), "fashion_mnist": (20, 50, 100, 200, 500), "imagenet": (4, 8, 12, 20)}
"""Images to choose from, by task; the third, of photographs the second, to begin with."""
STEPS = {"mnist": 40, "fashion_mnist": 40, "imagenet": 10}
"""Iterations to begin with."""
CHECKED = 30
"""Images of the sanity checks, at most."""
UNITS = {"squeezing": "L1 distance of the answers", "reconstruction": "L2 distance of the drawing"}
"""What a detector's score is."""
SMALLER = 0.75
"""Of the usual size of a picture, so that four stand side by side."""
WIDE = 100
"""Pixels of a picture that is not made smaller, so that only three stand side by side."""
CLEAN = slice(1000, 3000)
"""Images for a detector's threshold, as many of them as there are; none of them is attacked."""


@dataclass(frozen=True)
class Setup:
    """What the result depends on."""

    task: str
    defense: str
    params: tuple[tuple[str, Value], ...]
    model: str
    attack: str
    eps: float
    steps: int
    count: int
    rate: float
    seed: int

    @property
    def key(self) -> Hashable:
        """As `Keyed`."""
        return self

    @property
    def name(self) -> str:
        """Of the defense, for a person."""
        return "Defensive distillation" if self.defense == DISTILLATION else _spec(self.defense).name

    @property
    def inline(self) -> str:
        """The name within a sentence."""
        return self.name if self.name.isupper() else self.name[0].lower() + self.name[1:]

    @property
    def card(self) -> Card:
        """Of the model that is defended."""
        return find_model(self.model).card()

    @property
    def method(self) -> str:
        """The attack, for a person."""
        size = f" at {scaled(self.eps, 'linf')}" if self.attack != "cw" else ""
        return f"{find_attack(self.attack).name}{size}"

    @property
    def attackers(self) -> dict[str, Any]:
        """The attack's parameters."""
        known = {p.name for p in find_attack(self.attack).params}
        step = self.eps if self.steps == 1 else 2.5 * self.eps / self.steps
        given = {"eps": self.eps, "steps": self.steps, "alpha": step}
        return {} if self.attack == "cw" else {name: value for name, value in given.items() if name in known}


@dataclass(frozen=True)
class Shown:
    """A result, as far as it came."""

    setup: Setup
    data: Images
    trials: tuple[Trial, ...]
    detection: Detection | None

    def trial(self, attacker: str) -> Trial | None:
        """The trial of an attacker, where there is one already."""
        return next((t for t in self.trials if t.attacker == attacker), None)


def _spec(defense: str) -> Spec:
    return DETECTORS[defense] if defense in DETECTORS else CATALOG[defense]


def view() -> None:
    """Draws everything."""
    with st.sidebar:
        wanted = attempt(_choose)
    setup = run_button(wanted, "defended", "Attack it", lambda s: forget("defended", s.key))
    if setup is None:
        st.info("Choose settings that work in the sidebar; the reason is written there.")
        return
    shown = _computed(setup)
    if shown is not None:
        with st.container(key="result"):
            _verdict(shown)
            _pictures(shown)
            _details(shown)


def _choose() -> Setup:
    task = Ask(PREFIX.rstrip("_")).task(NETS)
    offered = [*CATALOG] if task == "imagenet" else [*CATALOG, *DETECTORS, DISTILLATION]
    defense = str(
        st.selectbox(
            "Defense",
            offered,
            offered.index(START[task]),
            key=f"{PREFIX}defense_{task}",
            bind="query-params",
            format_func=lambda k: "Defensive distillation" if k == DISTILLATION else _spec(k).name,
        )
    )
    params: Mapping[str, Value] = {}
    if defense != DISTILLATION:
        spec = _spec(defense)
        papers = ", ".join(f"[{short_citation(p)}]({p.url})" for p in spec.papers)
        st.caption(f"{spec.summary} {papers}")
        params = form(spec.params, {}, Ask(f"{PREFIX}{defense}"))
    model = _model(task, defense)
    attack = str(
        st.selectbox(
            "Attack",
            ATTACKS,
            key=f"{PREFIX}attack",
            bind="query-params",
            format_func=lambda k: find_attack(k).name,
            help="White box: the page shows what it does with more and more knowledge of the defense.",
        )
    )
    eps, steps = 0.0, 1
    if attack != "cw":
        left, right = st.columns(2)
        eps = float(
            left.number_input(
                "Epsilon (n/255)",
                0.25,
                255.0,
                LARGE[task],
                key=f"{PREFIX}eps_{task}",
                bind="query-params",
                help="Not that of the other pages: on MNIST larger, because rounding to one bit undoes every change "
                "that carries no pixel across one half; on Fashion-MNIST smaller, where little stands.",
            )
        )
        if attack != "fgsm":
            steps = int(
                right.number_input("Iterations", 1, 500, STEPS[task], key=f"{PREFIX}steps_{task}", bind="query-params")
            )
    start = COUNTS[task][1 if task == "imagenet" else 2]
    count = int(st.select_slider("Images", COUNTS[task], start, key=f"{PREFIX}count_{task}", bind="query-params"))
    rate = 0.05
    if defense in DETECTORS:
        percent = st.select_slider(
            "False positives allowed, %",
            (1, 2, 5, 10, 20),
            5,
            key=f"{PREFIX}rate",
            bind="query-params",
            help="The share of clean images that the threshold rejects on the half it is set on.",
        )
        rate = float(percent) / 100
    seed = int(st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params"))
    return Setup(task, defense, tuple(params.items()), model, attack, eps / 255, steps, count, rate, seed)


def _model(task: str, defense: str) -> str:
    if defense == DISTILLATION:
        st.caption("The ordinary net and its distilled twin, as the lab trained them.")
        return f"{task}/cnn"
    offered = [key for key in trained.keys(task) if is_here(key)]
    if defense == "reconstruction":
        offered = [key for key in offered if key.endswith("/capsnet")]
    start = f"{task}/{NETS[task]}"
    return str(
        st.selectbox(
            "Model",
            offered,
            offered.index(start) if start in offered else 0,
            key=f"{PREFIX}model_{task}_{defense == 'reconstruction'}",
            bind="query-params",
            format_func=lambda k: find_model(k).card().name,
        )
    )


def _data(setup: Setup) -> Images:
    return load_data(of_task(setup.task).key, card=setup.card).rows(slice(0, setup.count))


def _computed(setup: Setup) -> Shown | None:
    data = _data(setup)

    def work(job: Job) -> Shown:
        model = load(setup.model, job)
        attackers = Attackers(setup.attack, setup.attackers, setup.seed, job.cancelled)

        def watch(share: float, message: str) -> None:
            job.tell(share, message)

        shown = Shown(setup, data, (), None)
        job.tell(0.0, "looking at the clean images")
        if setup.defense in DETECTORS:
            clean = load_data(of_task(setup.task).key, card=setup.card).rows(CLEAN)
            guard = detector(setup.defense, **dict(setup.params))
            for report in detected(guard, model, clean.x, data.x, data.y, attackers, rate=setup.rate, watch=watch):
                job.partial = shown = Shown(setup, data, report.trials, report)
            return shown
        if setup.defense == DISTILLATION:
            student = cache.model(f"{setup.task}/cnn_distilled")
            softened = float(student.card.details["rule"]["temperature"])
            found = distilled(model, student, data.x, data.y, attackers, temperature=softened, watch=watch)
        else:
            found = transformed(setup.defense, model, data.x, data.y, attackers, watch=watch, **dict(setup.params))
        for trials in found:
            job.partial = shown = Shown(setup, data, trials, None)
        return shown

    return outcome("defended", setup.key, f"Attacking {setup.card.name}", work, _live)


def _live(shown: Shown) -> None:
    with st.container(key="so_far"):
        show_chart(_chart(shown), "worth_live")


def _chart(shown: Shown) -> Any:
    draw = figures.worth if shown.detection is None else figures.shares
    return draw(shown.trials, shown.data.y)


def _sentence(shown: Shown) -> str:
    """What the defense is worth to those who do not know it, and to those who do."""
    setup, y = shown.setup, shown.data.y
    trials = {t.attacker: t for t in shown.trials}
    if "any" not in trials:
        return f"{setup.name}: stopped before all attackers had their turn."
    clean, best = trials["none"], trials["any"]
    if shown.detection is not None:
        caught = shown.detection.detected("oblivious")
        told = "none of the attacked images fools the model" if caught is None else f"rejects **{caught:.0%}** of them"
        past = 1 - trials["adaptive"].accuracy(y)
        return (
            f"{setup.method} fools the model on {1 - trials['oblivious'].undefended(y):.0%} of the images; "
            f"{setup.inline} {told}. An attacker who knows it brings **{past:.0%}** past it. "
            f"The price: {shown.detection.false:.1%} of clean images rejected."
        )
    cost = clean.undefended(y) - clean.accuracy(y)
    price = f"costs {cost:.0%} of the clean images" if cost > 0.004 else "costs nothing on clean images"
    naive = f", **{trials['naive'].accuracy(y):.0%}** if they follow its gradient as it is" if "naive" in trials else ""
    return (
        f"Behind {setup.inline} {setup.method} leaves **{trials['oblivious'].accuracy(y):.0%}** of the images if the "
        f"attacker does not know of it{naive}, and **{best.accuracy(y):.0%}** under the best attack on each; without "
        f"it {trials['oblivious'].undefended(y):.0%}. It {price}."
    )


def _verdict(shown: Shown) -> None:
    st.markdown(f"### {_sentence(shown)}")
    how = "; ".join(f"**{figures.ATTACKERS[t.attacker]}**: {t.how}" for t in shown.trials if t.attacker != "none")
    show_chart(
        _chart(shown),
        "worth",
        f"The first {len(shown.data.y)} test images, wrong ones included"
        + ("" if shown.detection else "; bars are 95% intervals")
        + f". {how}. {_reading(shown)}",
    )


def _reading(shown: Shown) -> str:
    if shown.detection is not None:
        return "What counts is the orange part of the last bar, and a better attack may enlarge it."
    return (
        "What counts is the last bar, and a better attack may lower it; what the others have above it is owed to their "
        "attackers' ignorance. A naive bar above the unaware one shows that the defense misleads gradients."
    )


def _pictures(shown: Shown) -> None:
    """One image under every attacker, and what the defense makes of it."""
    setup, n = shown.setup, len(shown.data.y)
    st.markdown("#### One image")
    index = int(
        st.number_input(f"Image, 0 to {n - 1}", 0, n - 1, 0, key=f"{PREFIX}image", bind="query-params", width=180)
    )
    label = int(shown.data.y[index])
    st.caption(
        f"It shows: {setup.card.classes[label]}. "
        + (
            "What"
            if setup.defense == DISTILLATION
            else "Above what is sent in, below what the defense makes of it; what"
        )
        + " the model sees is below each."
    )
    wide = setup.card.input_shape[2] > WIDE
    left_out = ("any", "naive") if wide else ("any",)
    columns = [_column(shown, trial, index) for trial in shown.trials if trial.attacker not in left_out]
    show_tiles(columns, SMALLER)


def _column(shown: Shown, trial: Trial, index: int) -> list[Tile]:
    setup, model = shown.setup, cache.model(shown.setup.model)
    x = trial.x[index : index + 1]
    title = {"none": "Clean", "oblivious": "Unaware attacker", "naive": "Naive attacker", "adaptive": "Aware attacker"}
    top = Tile(title[trial.attacker], x[0], _seen(model, x, setup.card))
    if setup.defense == DISTILLATION:
        student = _seen(cache.model(f"{setup.task}/cnn_distilled"), x, setup.card)
        return [Tile(top.title, x[0], f"Ordinary net: {top.caption}. Distilled net: {student}.")]
    if setup.defense in CATALOG:
        changed = transformation(setup.defense, setup.seed, **dict(setup.params))(x).clamp(0, 1)
        return [top, Tile("Behind it", changed[0], _seen(model, changed, setup.card))]
    score = "" if trial.scores is None else f"score {float(trial.scores[index]):.3f}"
    said = f"{score}: {'rejected' if trial.flagged[index] else 'let in'}"
    if setup.defense == "reconstruction":
        net = capsules_of(model)
        with torch.no_grad():
            seen = net.explore(x.to(devices.of(net, x)))
            drawn = net.reconstruct(seen.capsules, seen.lengths.argmax(1)).cpu()
        return [top, Tile("Its drawing", drawn[0], said)]
    params: dict[str, Any] = dict(setup.params)
    few, soft = BitDepth(params["bits"])(x), Median(params["median"])(x)
    return [
        top,
        Tile("Fewer levels", few[0], _seen(model, few, setup.card)),
        Tile("Median", soft[0], f"{_seen(model, soft, setup.card)}; {said}"),
    ]


def _seen(model: Model, x: Tensor, card: Card) -> str:
    p = logits_of(model, x).softmax(1)[0]
    return f"seen as {card.classes[int(p.argmax())]}, {float(p.max()):.0%}"


def _details(shown: Shown) -> None:
    """The tabs; each is computed when it is opened."""
    tabs: dict[str, Callable[[Shown], None]] = {}
    if shown.detection is not None:
        tabs["ROC and threshold"] = _threshold
    tabs["Image by image"] = _table
    if shown.setup.defense in CATALOG:
        tabs["Can it be believed?"] = _believed
    tabs |= {"How it works": _how, "Take away": _take_away}
    show_tabs(tabs, "guard_tabs", shown)


def _threshold(shown: Shown) -> None:
    """The scores, the threshold, and every other threshold that there might have been."""
    found = shown.detection
    if found is None:
        return
    show_chart(
        figures.suspicion(found, UNITS[shown.setup.defense]),
        "suspicion",
        f"The threshold lets {found.rate:.0%} of {len(found.calibration):,} clean images be rejected, drawn at random; "
        f"of {len(found.held):,} others it rejects {found.false:.1%}. What lies right of it is rejected.",
    )
    curves = {
        f"{figures.ATTACKERS[attacker]} attacker": curve
        for attacker in ("oblivious", "adaptive")
        if shown.trial(attacker) is not None and (curve := found.curve(attacker)) is not None
    }
    if not curves:
        st.info("No attacked image fools the model, so that there is nothing to detect.")
        return
    show_chart(
        figures.characteristic(curves, found.false),
        "characteristic",
        "Each point is a threshold: how many clean images it rejects, and how many of those that fool the model. The "
        "aware attacker aimed at the present threshold only.",
    )


def _believed(shown: Shown) -> None:
    """The sanity checks of the Robustness page, of the model behind its defense as a naive attacker sees it."""
    setup = shown.setup
    few = shown.data.rows(slice(0, CHECKED if setup.task != "imagenet" else 4))
    eps = setup.eps or LARGE[setup.task] / 255
    st.caption(
        f"Seven questions to the naive attacker's figure, at {scaled(eps, 'linf')} on {len(few.y)} images: the model "
        "behind the defense, attacked as if its gradient were to be trusted. A red answer says that it is not."
    )

    def work(job: Job) -> tuple[Check, ...]:
        found: tuple[Check, ...] = ()
        model = load(setup.model, job)
        params: dict[str, Any] = dict(setup.params)
        behind = defend(setup.defense, model, seed=setup.seed, **params)
        for check in sanity_checks(behind, few.x, few.y, eps, source=model, seed=setup.seed, progress=job.progress):
            job.partial = found = (*found, check)
            job.tell(len(found) / 7, check.question)
        return found

    found = outcome("believed", setup.key, f"Questioning {setup.inline}", work, show_checks)
    if found:
        show_checks(found)


def _table(shown: Shown) -> None:
    """What the model sees in each image, by attacker."""
    classes = shown.setup.card.classes
    rows = []
    for i in range(len(shown.data.y)):
        row: dict[str, Any] = {"image": shown.data.ids[i], "class": classes[int(shown.data.y[i])]}
        for t in shown.trials:
            row[figures.ATTACKERS[t.attacker]] = "rejected" if t.flagged[i] else classes[int(t.seen[i])]
        rows.append(row)
    st.dataframe(rows, hide_index=True, width="stretch", key="guard_table")
    st.caption("The class that the defended model sees in each image, or whether it is rejected.")


def _how(shown: Shown) -> None:
    setup = shown.setup
    if setup.defense == DISTILLATION:
        st.markdown(
            "A teacher is trained with its logits divided by a temperature; the student learns the teacher's soft "
            "answers at the same temperature, and is used without it. Its logits become so large that probabilities "
            "round to 0 and 1 in 32 bits, and the gradient of the usual loss vanishes: the attack stands still, the "
            "model is as fragile as before. An attack that divides the logits by the temperature again never notices "
            "([Carlini and Wagner 2016](https://arxiv.org/abs/1607.04311))."
        )
        st.latex(r"p_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}")
    elif setup.defense == "squeezing":
        st.markdown("The score is the largest L1 distance between the answers to the image and to its squeezed copies:")
        st.latex(r"s(x) = \max_g \lVert \mathrm{softmax}\,f(x) - \mathrm{softmax}\,f(g(x)) \rVert_1")
        st.markdown(
            "Whoever knows it makes the model name the same wrong class for the image and for all copies, with the "
            "identity for the derivative of the rounding (BPDA)."
        )
    elif setup.defense == "reconstruction":
        st.markdown("The winning capsule is asked to draw what it saw; the score is how far the drawing is:")
        st.latex(r"s(x) = \lVert x - \mathrm{decode}(v_{\arg\max_k \lVert v_k \rVert}) \rVert_2")
        st.markdown("The reconstructive attack also pulls the image towards the drawing of the wrong class.")
    else:
        st.markdown(f"{_spec(setup.defense).summary} The defended model is the old one behind it:")
        st.latex(r"f_g(x) = f(g(x))")
        st.markdown(
            "Where $g$ has no useful derivative, the attacker who knows it takes the identity instead (BPDA, backward "
            "pass differentiable approximation); where it is random, the mean of several looks (EOT, expectation over "
            "transformation). [Athalye, Carlini and Wagner 2018](https://arxiv.org/abs/1802.00420) broke most "
            "transformations of their time so."
        )
    st.markdown(
        "Code: `lab/defenses/`, the attackers in `lab/experiments/defenses/attackers.py`. On the official test images: "
        "`python -m benchmarks.defenses`."
    )


def _take_away(shown: Shown) -> None:
    """Files with the results, and the link."""
    setup, y = shown.setup, shown.data.y
    told = {
        "data set": TASKS[setup.task],
        "defense": setup.defense,
        "params": dict(setup.params),
        "model": setup.model,
        "attack": setup.attack,
        "attack params": setup.attackers,
        "seed": setup.seed,
        "images": len(y),
        "attackers": [
            {
                "attacker": t.attacker,
                "how": t.how,
                "accuracy": t.accuracy(y),
                "interval": t.interval(y),
                "undefended": t.undefended(y),
                "rejected": float(t.flagged.double().mean()),
            }
            for t in shown.trials
        ],
    }
    if shown.detection is not None:
        told["detector"] = {
            "threshold": shown.detection.limit,
            "set for": shown.detection.rate,
            "false positives": shown.detection.false,
        }
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image", "class", "attacker", "undefended", "defended", "rejected", "score"])
    for t in shown.trials:
        for i, name in enumerate(shown.data.ids):
            score = "" if t.scores is None else float(t.scores[i])
            row = [name, int(y[i]), t.attacker, int(t.plain[i]), int(t.seen[i]), bool(t.flagged[i]), score]
            writer.writerow(row)
    offer_files(
        "defense",
        "guard",
        (
            Offer("Images (.csv)", "csv", "text/csv", text.getvalue()),
            Offer("Everything (.json)", "json", "application/json", json.dumps(told, indent=2)),
        ),
    )
    link_here("The link to this page")
