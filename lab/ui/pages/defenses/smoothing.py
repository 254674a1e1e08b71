"""The view of randomized smoothing: what is certain, and what attacks leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import streamlit as st
import torch

from lab.data import load_data
from lab.data.catalog import of_task
from lab.defenses.smoothing import ALPHA, largest_radius
from lab.experiments.defenses.smoothing import DRAWS, STEPS, Smoothing, smoothed
from lab.experiments.papers.experiment import provenance, published
from lab.figures import defenses as figures
from lab.progress import Progress
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

NAME = "smoothing"
MODELS = {"mnist": "mnist/cnn_noise", "fashion_mnist": "fashion_mnist/cnn"}
"""The model that is certified and attacked, to begin with, by task."""
OTHERS = {"mnist": "mnist/cnn", "fashion_mnist": "fashion_mnist/cnn_pgd_at"}
"""The model beside it."""
SIGMAS = (0.12, 0.25, 0.5, 1.0)
SIGMA = {"mnist": 0.5, "fashion_mnist": 0.25}
"""The noise to begin with."""
LOOKS = (200, 500, 1000, 2000, 5000, 10_000)
COUNTS = (10, 20, 50, 100, 200)


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
    def cap(self) -> float:
        """The largest radius that so many looks can certify."""
        return largest_radius(self.sigma, self.looks, ALPHA)


def choose(ask: Ask) -> Setup:
    """Draws the settings."""
    task = ask.task(MODELS)
    help = "Its answers under noise are counted. A model trained on noise does best."
    first = ask.model(task, MODELS[task], help=help)
    second = ask.model(task, OTHERS[task], "Beside it", f"other_{task}", help="For comparison.")
    sigma = ask.segment(
        f"sigma_{task}",
        "Sigma of the noise",
        SIGMAS,
        SIGMA[task],
        help="Standard deviation; pixels lie in [0, 1].",
    )
    looks = ask.slide(
        "looks",
        "Looks at each image",
        LOOKS,
        1000,
        help="A look is the model's answer to a noisy copy. More looks certify larger radii.",
    )
    count = ask.images(COUNTS, 20)
    return Setup(task, tuple(dict.fromkeys((first, second))), sigma, looks, count, ask.seed())


def compute(setup: Setup, progress: Progress) -> Iterator[Smoothing]:
    """Certificates, image by image, then what attackers leave."""
    dataset = of_task(setup.task).key
    data = load_data(dataset).rows(slice(0, setup.count))
    models = cache.models(setup.models, progress.part(0.0, 0.0))
    yield from smoothed(models, data, dataset, sigma=setup.sigma, looks=setup.looks, seed=setup.seed, progress=progress)


def show(setup: Setup, result: Smoothing) -> None:
    """The verdict, the certified accuracy, and one image."""
    st.markdown(f"### {sentence(setup, result)}")
    _curves(setup, result, "certified")
    _one_image(setup, result)


def live(setup: Setup, result: Smoothing) -> None:
    """The certified accuracy of the images so far."""
    _curves(setup, result, "certified_live")


def sentence(setup: Setup, result: Smoothing) -> str:
    """What is certain, at two radii."""
    name, first = result.names[setup.models[0]], result.certificates[setup.models[0]]
    n, half, whole = len(first.classes), setup.sigma, 2 * setup.sigma
    at = [first.accuracy(result.y[:n], r) for r in (0.0, half, whole)]
    images = "this one image" if n == 1 else f"these {n} images"
    return (
        f"**{name}**, smoothed with sigma {setup.sigma:g}, is certain to classify **{at[1]:.0%}** of {images} "
        f"correctly whatever is done within an L2 distance of {half:g}, and **{at[2]:.0%}** within {whole:g}; "
        f"{at[0]:.0%} if nothing is done."
    )


def _curves(setup: Setup, result: Smoothing, key: str) -> None:
    certificates = {result.names[k]: v for k, v in result.certificates.items()}
    about = prose(
        NAME,
        "The chart",
        n=len(result.y) if result.complete else max(len(each.classes) for each in certificates.values()),
        looks=f"{setup.looks:,}",
        alpha=f"{ALPHA:g}",
        steps=STEPS,
        draws=DRAWS,
        cap=f"{setup.cap:.2f}",
    )
    show_chart(figures.certified(certificates, result.y, result.attacked, setup.cap), key, about)


def _one_image(setup: Setup, result: Smoothing) -> None:
    """An image as it is looked at, and the votes."""
    st.markdown("#### One image")
    last = len(result.certificates[setup.models[0]].classes) - 1
    index = Ask(NAME).whole("image", f"Image, 0 to {last}", 0, last, 0, width=180) if last else 0
    x = load_data(result.dataset).x[index]
    noise = torch.randn((2, *x.shape), generator=torch.Generator().manual_seed(setup.seed))
    looks = (x + setup.sigma * noise).clamp(0, 1)
    show_tiles(
        [
            [Tile("Image", x, f"labelled {result.classes[int(result.y[index])]}")],
            *[
                [Tile(f"Look {k + 1}", look, "as the model sees it, but clipped to [0, 1]")]
                for k, look in enumerate(looks)
            ],
        ]
    )
    columns = st.columns(len(setup.models))
    for column, (key, certified) in zip(columns, result.certificates.items(), strict=False):
        if index < len(certified.classes):
            answer = result.answer(key, index)
            decision = (
                "abstains: no class is certain to be named in more than half of the looks"
                if answer is None
                else f"answers **{answer}**, certain within **{float(certified.radius[index]):.2f}**"
            )
            with column:
                st.markdown(f"**{result.names[key]}** {decision}.")
                show_chart(figures.votes(certified.votes[index], result.classes), f"votes_{key}")


def images(setup: Setup, result: Smoothing) -> None:
    """Every image's answer and radius."""
    st.dataframe(result.rows(), hide_index=True, width="stretch", key="smoothing_table")


def how(setup: Setup, result: Smoothing) -> Mapping[str, object]:
    """What the section on how it works leaves open."""
    figures = published("smoothing")
    certain = [figures[f"mnist/cnn_noise: certified at L2 radius {radius:g}"].value for radius in (0, 0.5, 1)]
    return {
        "alpha": f"{ALPHA:g}",
        "certain": "{:.1%}, {:.1%} and {:.1%}".format(*certain),
        "measured": provenance("smoothing"),
    }


PAGE: Page[Setup, Smoothing] = Page(
    name=NAME,
    title="Randomized smoothing",
    icon=":material/blur_on:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    live=live,
    tabs={"Image by image": images},
    how=how,
    doing=lambda setup: "Looking through noise",
    button="Certify",
)
