"""The parts of the CLEVER page: an estimated lower bound beside what attacks find, and whether it is to be believed."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import streamlit as st
import torch

from lab.attacks import attack
from lab.attacks.catalog import find_attack
from lab.defenses.preprocess import Preprocessed, staircase
from lab.experiments.clever.distances import ATTACKS, Reached, reached
from lab.experiments.clever.score import DOUBT, PAPER, QUICK, Clever, clever
from lab.figures import clever as figures
from lab.figures.attack import NORM_NAMES
from lab.figures.clever import written
from lab.models.catalog import name_elsewhere
from lab.ui.parts.result import load, run_button
from lab.ui.parts.scenario import Aim, Subject
from lab.ui.parts.shared import shared, tell_of_link
from lab.ui.parts.show import show_chart, show_image
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_here
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

PREFIX = "k_"
"""Of the widgets' keys, and so of the parameters in links."""
NORMS = {"L1": "l1", "L2": "l2", "L∞": "linf"}
NUMBERS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}
RADII: Mapping[str, float] = {"l1": 40.0, "l2": 5.0, "linf": 0.1}
"""Of the ball to begin with."""
BUDGETS: Mapping[str, Mapping[str, int]] = {"Quick": QUICK, "Paper": PAPER, "Own": QUICK}
GLANCE = {"batches": 16, "samples": 8}
"""The quick budget for large images."""
FEW = 20
"""Classes up to which all are scored."""
LIKELY = 5
"""Of more classes, the most probable that are scored."""
LONG = 100_000
"""Points from which the page warns that it takes minutes."""


@dataclass(frozen=True)
class Setup:
    """What one score depends on."""

    about: Subject
    aim: Aim
    norm: str
    batches: int
    samples: int
    radius: float
    order: Literal[1, 2]

    @property
    def key(self) -> Hashable:
        """What the result depends on."""
        about = self.about.card.key, self.about.dataset, self.about.image
        return (*about, self.aim.target, self.aim.seed, self.norm, self.batches, self.samples, self.radius, self.order)


@dataclass(frozen=True)
class Shown:
    """Scores of one image, and the class that the model sees in it."""

    setup: Setup
    found: Clever
    seen: int

    @property
    def nearest(self) -> int:
        """The column of the target with the smallest score."""
        return int(self.found.by_target[0].argmin())

    @property
    def score(self) -> float:
        """The untargeted score."""
        return float(self.found.scores[0])

    def name(self, column: int) -> str:
        """Of a target's class."""
        return self.setup.about.card.classes[int(self.found.targets[0, column])]

    @property
    def exact(self) -> float | None:
        """The exact distance where the network is linear, pixels' range left aside."""
        if self.found.order == 1 and bool((self.found.scale == 0).all()) and bool((self.found.location > 0).all()):
            return float((self.found.margin / self.found.slope)[0].min())
        return None

    @property
    def flat(self) -> bool:
        """Whether the gradients around the image vanish."""
        return bool((self.found.location[0] <= 0).any())


def choose() -> Setup | None:
    """Draws the settings; None where they cannot be used."""
    common = shared()
    about, aim = common.about, common.aim
    if about is None or aim is None:
        return None
    with common.place:
        setup = _settings(about, aim)
    tell_of_link({**about.link, **aim.link(about.card)})
    return setup


def _settings(about: Subject, aim: Aim) -> Setup:
    drawn = st.segmented_control(
        "Norm",
        list(NORMS),
        default="L2",
        required=True,
        key=f"{PREFIX}norm",
        bind="query-params",
        width="stretch",
        help="In which the distance is measured. The gradients are measured in its dual.",
    )
    norm = NORMS[str(drawn)]
    budget = st.segmented_control(
        "Budget",
        list(BUDGETS),
        default="Quick",
        required=True,
        key=f"{PREFIX}budget",
        bind="query-params",
        width="stretch",
        help="How many batches of points are drawn around the picture, and how many points each has.",
    )
    large = about.x.numel() > 10_000
    chosen = dict(GLANCE if large and budget != "Paper" else BUDGETS[str(budget)])
    if budget == "Own":
        left, right = st.columns(2)
        for name, place, most in (("batches", left, 1000), ("samples", right, 4096)):
            least = 10 if name == "batches" else 2
            chosen[name] = int(
                place.number_input(
                    name.capitalize(), least, most, max(least, chosen[name]), key=f"{PREFIX}{name}", bind="query-params"
                )
            )
    pixels = norm == "linf"
    unit = 255 if pixels else 1
    radius = st.number_input(
        "Radius" + (" (n/255)" if pixels else ""),
        0.1,
        255.0,
        RADII[norm] * unit,
        key=f"{PREFIX}radius_{norm}",
        bind="query-params",
        help="Of the ball that is sampled; no score is larger.",
    )
    second = False
    if norm == "l2":
        second = st.toggle(
            "Second order",
            key=f"{PREFIX}second",
            bind="query-params",
            help="From the gradient at the picture and the largest curvature around it: for smooth networks without "
            "ReLU, such as the RBF net.",
        )
    st.caption(f"{chosen['batches']:,} batches of {chosen['samples']:,} points")
    if chosen["batches"] * chosen["samples"] * (20 if large else 1) > LONG:
        st.caption("This takes minutes on a processor; it can be stopped, and what there is by then is shown.")
    return Setup(about, aim, norm, chosen["batches"], chosen["samples"], float(radius) / unit, 2 if second else 1)


def settle(setup: Setup | None) -> Setup | None:
    """Draws the run button; returns what is to be shown."""
    return run_button(setup, "clever", "Estimate the distance", lambda s: forget("clever", s.key))


def _targets(setup: Setup, logits: torch.Tensor) -> torch.Tensor | None:
    """Classes to score: all where they are few, else the most probable ones and the goal; None for all."""
    if logits.shape[1] <= FEW:
        return None
    order = [k for k in logits[0].argsort(descending=True).tolist() if k != int(logits[0].argmax())][:LIKELY]
    goal = setup.aim.target
    if goal is not None and goal not in order and goal != int(logits[0].argmax()):
        order.append(goal)
    return torch.tensor([order])


def computed(setup: Setup) -> Shown | None:
    """The scores; None while they are at work."""

    def work(job: Job) -> Shown:
        model = load(setup.about.card.key, job)
        with torch.no_grad():
            logits = model(setup.about.x)

        def watch(share: float) -> None:
            job.share, job.message = share, f"batch {round(share * setup.batches):,} of {setup.batches:,}"

        found = _clever(setup, model, _targets(setup, logits), job, watch)
        shown = Shown(setup, found, int(logits.argmax()))
        if len(found.scores):
            job.partial = shown
        job.tell(1.0)
        return shown

    return outcome("clever", setup.key, f"Sampling gradients of {setup.about.card.name}", work)


def _clever(
    setup: Setup,
    model: torch.nn.Module,
    targets: torch.Tensor | None,
    job: Job,
    watch: Callable[[float], None] = lambda share: None,
) -> Clever:
    return clever(
        model,
        setup.about.x,
        norm=NUMBERS[setup.norm],
        targets=targets,
        batches=setup.batches,
        samples=setup.samples,
        radius=setup.radius,
        seed=setup.aim.seed,
        order=setup.order,
        cancel=job.cancelled,
        watch=watch,
    )


def attacked(shown: Shown) -> tuple[Reached, ...] | None:
    """The smallest distortions that attacks find; None while they are at work."""
    setup = shown.setup

    def work(job: Job) -> tuple[Reached, ...]:
        model = load(setup.about.card.key, job)
        done: list[Reached] = []
        job.tell(0.0, find_attack(ATTACKS[0]).name)
        for one in reached(model, setup.about.x, setup.norm, seed=setup.aim.seed, cancel=job.cancelled):
            done.append(one)
            job.partial = tuple(done)
            coming = ATTACKS[len(done) % len(ATTACKS)]
            job.tell(len(done) / len(ATTACKS), find_attack(coming).name)
        return tuple(done)

    about = setup.about
    key = (about.card.key, about.dataset, about.image, setup.norm, setup.aim.seed)
    return outcome("distances", key, "Searching for the smallest distortion", work)


def best_of(found: tuple[Reached, ...] | None) -> Reached | None:
    """The attack that came nearest, where any got there."""
    nearest = min(found or (), key=lambda r: r.distance, default=None)
    return nearest if nearest is not None and math.isfinite(nearest.distance) else None


def sentence(shown: Shown, best: Reached | None) -> str:
    """What was estimated and what was found, with numbers."""
    card, norm = shown.setup.about.card, shown.setup.norm
    size = written(shown.score, norm)
    if best is not None and best.distance < shown.score and not shown.flat:
        return (
            f"CLEVER's estimate for **{card.name}**, **{size}** in {NORM_NAMES[norm]}, is too large: "
            f"{find_attack(best.attack).name} makes it see *{card.classes[best.seen]}* at "
            f"**{written(best.distance, norm)}**."
        )
    told = (
        f"CLEVER estimates that **{card.name}** goes on seeing *{card.classes[shown.seen]}* in every picture nearer "
        "than "
        f"**{size}** in {NORM_NAMES[norm]}; *{shown.name(shown.nearest)}* is the nearest other class"
    )
    if best is None:
        return told + "."
    return told + f". The smallest distortion that an attack found is **{written(best.distance, norm)}**."


def show(shown: Shown) -> tuple[Reached, ...] | None:
    """The verdict, what speaks against it, the scores beside the attacks; what the attacks found."""
    head, warnings, chart = st.container(), st.container(), st.container()
    found = attacked(shown)
    best = best_of(found)
    with head:
        st.markdown(f"### {sentence(shown, best)}")
        st.caption(
            "An estimate, not a certificate: it extrapolates the largest of the gradients that were sampled; a steeper "
            "spot that was not sampled makes it too large."
        )
    with warnings:
        _warn(shown, best)
    with chart:
        left, right = st.columns([1, 4])
        with left:
            show_image(shown.setup.about.x[0], "the picture")
            st.caption(f"Seen as {shown.setup.about.card.classes[shown.seen]}.")
        with right:
            names = {find_attack(r.attack).name: r.distance for r in found or ()}
            show_chart(
                figures.by_target(shown.found, shown.setup.about.card.classes, names, shown.setup.norm, shown.exact),
                "scores",
                "Bars: the estimated distance to each other class, the nearest in orange. Lines: what attacks found; a "
                "sound lower bound for the nearest class ends to the left of all of them."
                + _what_is_scored(shown)
                + (
                    " The network is linear: the exact distance, pixels' range left aside, is known."
                    if shown.exact
                    else ""
                ),
            )
    return found


def _what_is_scored(shown: Shown) -> str:
    classes = len(shown.setup.about.card.classes)
    return "" if classes <= FEW else f" Of {classes:,} classes, the most probable are scored."


def _warn(shown: Shown, best: Reached | None) -> None:
    """What speaks against the score."""
    if shown.flat:
        st.error(
            "The gradients around this picture are zero for some class: the score is only the radius of the sample and "
            "says nothing about robustness. Masked gradients do that.",
            icon=":material/visibility_off:",
        )
    elif best is not None and best.distance < shown.score:
        st.error(
            "An attack got in under the estimate: the steepest gradient around this picture was not sampled. More "
            "samples may lower the estimate; a line that is flat in Convergence does not say that they will not.",
            icon=":material/gpp_bad:",
        )
    doubted = [shown.name(t) for t, p in enumerate(shown.found.p_value[0].tolist()) if p < DOUBT]
    if doubted:
        st.warning(
            f"For {', '.join(doubted)} no fit is believable (Kolmogorov-Smirnov): the largest gradient seen stands "
            "in for "
            "the endpoint.",
            icon=":material/query_stats:",
        )
    if shown.found.maxima.shape[2] < shown.setup.batches:
        st.warning(f"Stopped: these are the first {shown.found.maxima.shape[2]} of {shown.setup.batches} batches.")


def details(shown: Shown, found: tuple[Reached, ...] | None) -> None:
    """The tabs; each is computed when it is opened."""
    tabs: Mapping[str, Callable[[], None]] = {
        "The fit": lambda: fit(shown),
        "Convergence": lambda: convergence(shown, best_of(found)),
        "Where it fails": lambda: critique(shown),
        "How it works": lambda: method(shown),
        "Take away": lambda: take_away(shown, found),
    }
    for tab, draw in zip(st.tabs(list(tabs), key="clever_tabs", on_change="rerun"), tabs.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def _column(shown: Shown, key: str) -> int:
    """The target that a tab is about; the nearest to begin with."""
    order = sorted(range(shown.found.targets.shape[1]), key=lambda t: float(shown.found.by_target[0, t]))
    chosen = st.selectbox("Other class", order, key=key, format_func=shown.name)
    return order[0] if chosen is None else int(chosen)


def fit(shown: Shown) -> None:
    """The maxima of one target, and the distribution fitted to them."""
    t = _column(shown, f"{PREFIX}fit_target")
    found = shown.found
    shape, p = float(found.shape[0, t]), float(found.p_value[0, t])
    show_chart(figures.fit(found, t), "fit")
    if not math.isfinite(shape):
        st.caption("All batches have the same maximum: the network is linear here, or flat, and nothing was fitted.")
        return
    st.caption(
        "The largest values of many samples follow a reverse Weibull distribution if there is a largest value at "
        "all. Its "
        f"endpoint, {float(found.location[0, t]):.4g}, estimates the local Lipschitz constant; shape {shape:.3g}, "
        "scale "
        f"{float(found.scale[0, t]):.3g}, Kolmogorov-Smirnov p-value {p:.2g} (small means that the fit is bad). "
        + _arithmetic(shown, t)
    )


def _arithmetic(shown: Shown, t: int) -> str:
    margin, location = float(shown.found.margin[0, t]), float(shown.found.location[0, t])
    if shown.found.order == 2:
        return f"The logits differ by {margin:.4g} here."
    return (
        f"The logits differ by {margin:.4g} here: {margin:.4g} / {location:.4g} = "
        f"{written(float(shown.found.by_target[0, t]), shown.setup.norm)}."
    )


def convergence(shown: Shown, best: Reached | None) -> None:
    """The score of one target from the first so many batches."""
    t = _column(shown, f"{PREFIX}convergence_target")
    most = shown.found.maxima.shape[2]
    counts = [c for c in (5, 10, 15, 20, 30, 40, 60, 100, 150, 200, 300, 500, 1000) if c < most] + [most]
    scores = [shown.found.after(0, t, c) for c in counts]
    show_chart(
        figures.convergence(counts, scores, shown.setup.norm, None if best is None else best.distance),
        "convergence",
        "The score that the first so many batches alone would have given. Where the line still moves, more batches are "
        "needed.",
    )


def critique(shown: Shown) -> None:
    """The same network behind a staircase: masked gradients make the score meaningless, BPDA brings it back."""
    st.markdown(
        "[Goodfellow 2018](https://arxiv.org/abs/1804.07870) put a **staircase** before a network: pixels are "
        "rounded to "
        "their 256 levels, which changes nothing that one could see, but the gradient is zero almost everywhere. "
        "CLEVER "
        "then finds nothing to extrapolate, and the score rises to the radius, although the network is as easy to "
        "fool as "
        "before. The authors' answer: whoever owns the network can pass the gradient by the staircase (BPDA, "
        "[Athalye et al. 2018](https://arxiv.org/abs/1802.00420)), and the score comes back."
    )
    if shown.found.order == 2:
        st.caption("Shown for the first order.")
    setup = replace(shown.setup, order=1)

    def work(job: Job) -> list[dict[str, str]]:
        model = load(setup.about.card.key, job)
        target = shown.found.targets[:1, shown.nearest : shown.nearest + 1]
        rows = []
        nets = {
            "as it is": model,
            "behind a staircase, with its own gradient": Preprocessed(model, staircase, "exact"),
            "behind a staircase, gradient passed by (BPDA)": Preprocessed(model, staircase, "bpda"),
        }
        for k, (name, net) in enumerate(nets.items()):
            job.tell(k / 3, name)
            found = _clever(setup, net, target, job)
            job.tell(k / 3 + 0.2, f"{name}: DeepFool")
            broken = attack("deepfool", net, setup.about.x, shown.seen, cancel=job.cancelled)
            if not len(found.scores):
                break
            score = float(found.scores[0])
            at_radius = " (the radius)" if score >= setup.radius else ""
            rows.append(
                {
                    "network": name,
                    "largest gradient": f"{float(found.location[0, 0]):.4g}",
                    f"CLEVER, to {shown.name(shown.nearest)}": written(score, setup.norm) + at_radius,
                    "DeepFool": written(float(broken.distance[setup.norm][0]), setup.norm)
                    if bool(broken.success[0])
                    else "finds nothing",
                }
            )
        return rows

    rows = outcome("staircase", (setup.key, shown.nearest), "Putting a staircase before the network", work)
    if rows:
        st.dataframe(rows, hide_index=True, width="stretch", key="staircase")
        st.caption(
            "The same seed, budget and radius in all three rows. An attack that needs gradients is misled as well; and "
            "behind the staircase the smallest steps of one that passes by it are rounded away, so that it needs more."
        )


def method(shown: Shown) -> None:
    """The method, with its formulas and sources."""
    st.markdown(
        "For the class $c$ that the network sees and another class $j$, let $g = f_c - f_j$ be the margin of the "
        "logits. If "
        "its gradient is nowhere in the ball longer than $L$ (in the dual norm), no change shorter than $g(x)/L$ "
        "makes $j$ "
        "overtake. CLEVER estimates $L$:"
    )
    st.latex(r"\mu = \min_{j \ne c}\ \min\left(\frac{g(x)}{L_j},\ R\right),\qquad L_j \approx \hat a")
    st.markdown(
        "1. Draw points from the ball of radius $R$, in batches, and keep the largest $\\lVert\\nabla g\\rVert$ of "
        "each "
        "batch.\n"
        "2. Fit a reverse Weibull distribution to these maxima by maximum likelihood; its endpoint $\\hat a$ is the "
        "estimate.\n"
        "3. The untargeted score is the smallest over the other classes."
    )
    st.markdown("The second order, for smooth networks, uses the largest curvature $H$ instead (L2 only):")
    st.latex(r"\mu = \frac{-\lVert\nabla g\rVert + \sqrt{\lVert\nabla g\rVert^2 + 2\,g\,H}}{H}")
    st.markdown(
        "[Weng et al. 2018](https://arxiv.org/abs/1801.10578), algorithms 1 and 2; second order: "
        "[Weng et al. 2018](https://arxiv.org/abs/1810.08640); the critique: "
        "[Goodfellow 2018](https://arxiv.org/abs/1804.07870). Code: `lab/experiments/clever/score.py`."
    )


def take_away(shown: Shown, attacks: tuple[Reached, ...] | None) -> None:
    """Files with the scores and fits, the command that computes them again, and the link."""
    setup, found = shown.setup, shown.found
    fields = ("by_target", "margin", "slope", "location", "shape", "scale", "p_value")
    rows = [
        {"target": shown.name(t), **{f: float(getattr(found, f)[0, t]) for f in fields}}
        for t in range(found.targets.shape[1])
    ]
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    told = {
        "model": setup.about.card.key,
        "dataset": setup.about.dataset,
        "image": setup.about.image,
        "seen": setup.about.card.classes[shown.seen],
        "norm": setup.norm,
        "batches": int(found.maxima.shape[2]),
        "samples": setup.samples,
        "radius": setup.radius,
        "order": setup.order,
        "seed": setup.aim.seed,
        "score": shown.score,
        "targets": [{k: None if v != v else v for k, v in row.items()} for row in rows],
        "maxima": found.maxima[0].tolist(),
        "attacks": {r.attack: r.distance if math.isfinite(r.distance) else None for r in attacks or ()},
    }
    offers = (
        Offer("Scores and fits (.csv)", "csv", "text/csv", file.getvalue()),
        Offer("Everything (.json)", "json", "application/json", json.dumps(told, indent=2)),
    )
    offer_files("clever", "clever", offers)
    if setup.about.dataset not in ("file", "photographs"):
        st.markdown("**The command that scores the first images of the set**")
        number = {"l1": "1", "l2": "2", "linf": "inf"}[setup.norm]
        st.code(
            f"python -m lab clever --model {name_elsewhere(setup.about.card.key)} "
            f"--dataset {setup.about.dataset} --limit 10 --norm {number} "
            f"--batches {setup.batches} --samples {setup.samples} --radius {setup.radius:.6g} --order {setup.order} "
            f"--seed {setup.aim.seed}",
            language="bash",
            wrap_lines=True,
        )
    link_here(
        "The link to this page" + ("; your own picture is not part of it" if setup.about.dataset == "file" else "")
    )


def _body() -> None:
    setup = settle(choose())
    if setup is None:
        st.info("Choose a picture and settings that work in the sidebar; the reason is written there.")
        return
    shown = computed(setup)
    if shown is not None:
        with st.container(key="result"):
            found = show(shown)
            details(shown, found)


PAGE: Page[Any, Any] = Page(
    name="clever",
    title="CLEVER",
    icon=":material/straighten:",
    about=prose("clever", "About"),
    shared=True,
    body=_body,
)
