"""The view of randomized smoothing: what is certain, and what attacks leave."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

import streamlit as st
import torch

from lab.attacks import attack as run_attack
from lab.data import load_data
from lab.data.catalog import of_task
from lab.defenses.smoothing import ABSTAIN, Certified, Smoothed, certify, joined, largest_radius, predict
from lab.figures import defenses as figures
from lab.images import Images
from lab.models.catalog import find_model, is_here
from lab.progress import Progress
from lab.ui.parts.result import run_button
from lab.ui.parts.show import show_chart, show_tabs
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_here
from lab.ui.shell.say import attempt

PREFIX = "g_"
START = {"mnist": "mnist/cnn_noise", "fashion_mnist": "fashion_mnist/cnn"}
OTHER = {"mnist": "mnist/cnn", "fashion_mnist": "fashion_mnist/cnn_pgd_at"}
SIGMAS = (0.12, 0.25, 0.5, 1.0)
LOOKS = (200, 500, 1000, 2000, 5000, 10_000)
COUNTS = (10, 20, 50, 100, 200)
ALPHA = 0.001
TRIED = (0.5, 1.0, 1.5, 2.0)
"""L2 radii at which the smoothed model is attacked."""
STEPS, DRAWS, VOTES = 20, 8, 200
"""Of that attack: its steps, the looks that it averages, and the looks that decide on its success."""


@dataclass(frozen=True)
class Setup:
    """What the result depends on."""

    task: str
    models: tuple[str, ...]
    sigma: float
    looks: int
    count: int
    seed: int

    @property
    def key(self) -> Hashable:
        """As `Keyed`."""
        return self

    @property
    def names(self) -> list[str]:
        """The models', for a person."""
        return [find_model(key).card().name for key in self.models]

    @property
    def cap(self) -> float:
        """The largest radius that so many looks can certify."""
        return largest_radius(self.sigma, self.looks, ALPHA)


@dataclass(frozen=True)
class Shown:
    """Certificates by model, and what attackers of the first model leave, radius by radius; as far as they came."""

    setup: Setup
    data: Images
    found: dict[str, Certified]
    attacked: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


def view() -> None:
    """Draws everything."""
    with st.sidebar:
        wanted = attempt(_choose)
    setup = run_button(wanted, "smoothing", "Certify", lambda s: forget("smoothing", s.key))
    if setup is None:
        st.info("Choose settings that work in the sidebar; the reason is written there.")
        return
    shown = _computed(setup)
    if shown is not None and shown.found:
        with st.container(key="result"):
            st.markdown(f"### {_sentence(shown)}")
            _curves(shown, "certified")
            _picture(shown)
            _details(shown)


def _choose() -> Setup:
    task = Ask(PREFIX.rstrip("_")).task(START)
    offered = [key for key in trained.keys(task) if is_here(key)]

    def pick(label: str, start: str, name: str, help: str) -> str:
        return str(
            st.selectbox(
                label,
                offered,
                offered.index(start),
                key=f"{PREFIX}{name}_{task}",
                bind="query-params",
                format_func=lambda k: find_model(k).card().name,
                help=help,
            )
        )

    first = pick("Model", START[task], "model", "Its answers under noise are counted. One trained on noise does best.")
    second = pick("Beside it", OTHER[task], "other", "To compare with.")
    sigma = float(
        st.segmented_control(
            "Sigma of the noise",
            SIGMAS,
            default=0.5 if task == "mnist" else 0.25,
            required=True,
            key=f"{PREFIX}sigma_{task}",
            bind="query-params",
            help="Standard deviation; pixels lie in [0, 1].",
            width="stretch",
        )
        or 0.5
    )
    looks = int(
        st.select_slider(
            "Looks at each image",
            LOOKS,
            1000,
            key=f"{PREFIX}looks",
            bind="query-params",
            help="More looks certify larger radii.",
        )
    )
    count = int(st.select_slider("Images", COUNTS, 20, key=f"{PREFIX}count", bind="query-params"))
    seed = int(st.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params"))
    return Setup(task, tuple(dict.fromkeys((first, second))), sigma, looks, count, seed)


def _computed(setup: Setup) -> Shown | None:
    data = load_data(of_task(setup.task).key).rows(slice(0, setup.count))

    def work(job: Job) -> Shown:
        shown = Shown(setup, data, {})
        total = len(setup.models) * setup.count + len(TRIED) * 10
        for m, key in enumerate(setup.models):
            model = cache.model(key)
            parts: list[Certified] = []
            for i in range(setup.count):
                job.tell((m * setup.count + i) / total, f"{find_model(key).card().name}, image {i + 1}")
                parts.append(certify(model, data.x[i : i + 1], sigma=setup.sigma, n=setup.looks, seed=setup.seed))
                shown = Shown(setup, data, {**shown.found, key: joined(parts)})
                job.partial = shown
        model, y = cache.model(setup.models[0]), data.y
        attackers = {"unaware": model, "aware": Smoothed(model, setup.sigma, DRAWS, setup.seed)}
        plan = [(radius, who) for radius in TRIED for who in attackers]
        for k, (radius, who) in enumerate(plan):
            job.tell(1 - 40 * (len(plan) - k) / len(plan) / total, f"an {who} attacker at {radius:g}")
            x = run_attack(
                "pgd",
                attackers[who],
                data.x,
                y,
                norm="l2",
                eps=radius,
                steps=STEPS,
                seed=setup.seed,
                progress=Progress(stop=job.cancelled),
            ).x
            seen = predict(model, x, sigma=setup.sigma, n=VOTES, seed=setup.seed + 7)
            point = (radius, float((seen == y).double().mean()))
            before = shown.attacked.get(who, ())
            job.partial = shown = Shown(setup, data, shown.found, {**shown.attacked, who: (*before, point)})
        return shown

    def live(shown: Shown) -> None:
        with st.container(key="so_far"):
            _curves(shown, "certified_live")

    return outcome("smoothing", setup.key, "Looking through noise", work, live)


def _sentence(shown: Shown) -> str:
    """What is certain, at two radii."""
    setup, y = shown.setup, shown.data.y
    first = shown.found[setup.models[0]]
    n, half, whole = len(first.classes), setup.sigma, 2 * setup.sigma
    at = [first.accuracy(y[:n], r) for r in (0.0, half, whole)]
    return (
        f"**{setup.names[0]}**, smoothed with sigma {setup.sigma:g}, is certain to class **{at[1]:.0%}** of these {n} "
        f"images right whatever is done within an L2 distance of {half:g}, and **{at[2]:.0%}** within {whole:g}; "
        f"{at[0]:.0%} unchanged."
    )


def _curves(shown: Shown, key: str) -> None:
    setup = shown.setup
    names = dict(zip(setup.models, setup.names, strict=True))
    show_chart(
        figures.certified({names[k]: v for k, v in shown.found.items()}, shown.data.y, shown.attacked, setup.cap),
        key,
        f"The first {len(shown.data.y)} test images, {setup.looks:,} looks each. The line is a proof, up to a chance "
        f"of {ALPHA:g} for each image: no attack gets below it. The points are what PGD of {STEPS} steps leaves of "
        f"the first model, with 95% intervals: unaware of the noise, and aware ({DRAWS} looks averaged at each step). "
        "The truth lies between the line and the lower point. So many "
        f"looks certify {setup.cap:.2f} at most, even where all agree.",
    )


def _picture(shown: Shown) -> None:
    """One image, as it is looked at, and the votes."""
    setup = shown.setup
    st.markdown("#### One image")
    first = shown.found[setup.models[0]]
    last = len(first.classes) - 1
    index = int(
        st.number_input(f"Image, 0 to {last}", 0, last, 0, key=f"{PREFIX}image", bind="query-params", width=180)
        if last
        else 0
    )
    x = shown.data.x[index]
    noise = torch.randn((2, *x.shape), generator=torch.Generator().manual_seed(setup.seed))
    looks = (x + setup.sigma * noise).clamp(0, 1)
    classes = find_model(setup.models[0]).card().classes
    show_tiles(
        [
            [Tile("Image", x, f"labelled {classes[int(shown.data.y[index])]}")],
            *[[Tile(f"Look {k + 1}", look, "as the model sees it, but cut to [0, 1]")] for k, look in enumerate(looks)],
        ]
    )
    columns = st.columns(len(setup.models))
    for column, key, name in zip(columns, setup.models, setup.names, strict=True):
        if key in shown.found and index < len(shown.found[key].classes):
            found = shown.found[key]
            answer = int(found.classes[index])
            said = (
                "abstains: no class is certain to be named by more than half of the looks"
                if answer == ABSTAIN
                else f"answers **{classes[answer]}**, certain within **{float(found.radius[index]):.2f}**"
            )
            with column:
                st.markdown(f"**{name}** {said}.")
                show_chart(figures.votes(found.votes[index], classes), f"votes_{key}")


def _details(shown: Shown) -> None:
    tabs: dict[str, Callable[[Shown], None]] = {
        "Image by image": _table,
        "How it works": _how,
        "Take away": _take_away,
    }
    show_tabs(tabs, "smoothing_tabs", shown)


def _rows(shown: Shown) -> list[dict[str, object]]:
    rows = []
    for key, found in shown.found.items():
        classes = find_model(key).card().classes
        for i in range(len(found.classes)):
            answer = int(found.classes[i])
            rows.append(
                {
                    "model": find_model(key).card().name,
                    "image": shown.data.ids[i],
                    "class": classes[int(shown.data.y[i])],
                    "answer": "abstains" if answer == ABSTAIN else classes[answer],
                    "radius": float(found.radius[i]),
                    "share, at least": float(found.share[i]),
                }
            )
    return rows


def _table(shown: Shown) -> None:
    st.dataframe(_rows(shown), hide_index=True, width="stretch", key="smoothing_table")


def _how(shown: Shown) -> None:
    st.markdown("The smoothed model answers the class that the model names most often under Gaussian noise:")
    st.latex(r"g(x) = \arg\max_c\; P\left(f(x + \delta) = c\right), \quad \delta \sim \mathcal{N}(0, \sigma^2 I)")
    st.markdown(
        "If the class is named with a probability of at least $p > 1/2$, no perturbation of an L2 length below "
        r"$\sigma\,\Phi^{-1}(p)$ changes the answer, whoever makes it. $p$ is the lower end of the exact (Clopper-"
        f"Pearson) interval of the counted looks, at a chance of {ALPHA:g} to be wrong; where it is not above one "
        "half, the model abstains. This is a proof about the smoothed model in L2, not about other distances; every "
        "answer costs as many forward passes as there are looks."
    )
    st.markdown(
        "[Cohen, Rosenfeld and Kolter 2019](https://arxiv.org/abs/1902.02918); the attack: "
        "[Salman et al. 2019](https://arxiv.org/abs/1906.04584). Code: `lab/defenses/smoothing.py`. On 500 official "
        "test images, sigma 0.5 and 2,000 looks, the noise-trained net is certain on 99.4, 96.0 and 83.4% at the radii "
        "0, 0.5 and 1: `python -m benchmarks.defenses smoothing`."
    )


def _take_away(shown: Shown) -> None:
    rows = _rows(shown)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    offer_files("smoothing", "smoothing", (Offer("Certificates (.csv)", "csv", "text/csv", text.getvalue()),))
    link_here("The link to this page")
