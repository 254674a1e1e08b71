"""The Capsules page: a capsule network looked into, beside another network, and as its own detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

import streamlit as st
import torch
from torch import Tensor

from lab.experiments.capsules.look import Look, look
from lab.figures import capsules as figures
from lab.figures.attack import scaled
from lab.models.catalog import find_model
from lab.packed import archive
from lab.progress import Progress
from lab.ui.pages.capsules.detector import detector
from lab.ui.pages.capsules.inside import inside
from lab.ui.pages.capsules.robust import robust
from lab.ui.pages.capsules.setup import NAME, PICTURE_WIDTH, Setup, choose, detection_of
from lab.ui.pages.capsules.turn import turn
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import strip, thumbnail
from lab.ui.shell import cache
from lab.ui.shell.downloads import Offer
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.words import name_of


def compute(setup: Setup, progress: Progress) -> Iterator[Look]:
    """The attacked image, and what the network makes of it."""
    model = cache.model(setup.models[0], progress.part(0.0, 0.1))
    progress.tell(0.1, "the detector's threshold")
    detection = detection_of(setup.task, setup.rate, setup.seed)
    data = setup.images(setup.image, setup.image + 1)
    yield look(model, data, setup.attackers(setup.attack), detection, progress=progress.part(0.4, 1.0))


def show(setup: Setup, result: Look) -> None:
    """The verdict, the pictures with what the network draws of them, and the lengths of the class capsules."""
    truth = result.classes[result.label]
    wrong = f"The label is {truth}: the network was wrong before the attack."
    st.markdown(f"### {sentence(result)}")
    st.caption(
        prose(
            NAME,
            "The capsules",
            rate=f"{setup.rate:.0%}",
            median=f"{result.detection.held.median():.2f}",
            wrong="" if result.seen[0] == result.label else wrong,
        )
    )
    left, right = st.columns([3, 2])
    with left:
        for which, kind in enumerate(("Clean", "Attacked")):
            x, drawn, true = result.x[which], result.drawn[which], result.true[which]
            name, far = result.name(which), float(torch.linalg.vector_norm(true - x))
            row = (
                (x, f"**{kind}**: seen as {name}"),
                (drawn, f"What it draws of {name}: {result.distance[which]:.2f} from the image"),
                (true, f"Of the true class, {truth}: {far:.2f} from it"),
            )
            strip(((thumbnail(picture, PICTURE_WIDTH), caption) for picture, caption in row), PICTURE_WIDTH)
    with right:
        st.markdown("**Lengths of the class capsules**")
        show_chart(figures.lengths(result.inside.lengths, result.classes), "lengths", prose(NAME, "The lengths"))


def sentence(result: Look) -> str:
    """What the network saw and sees, and whether its drawing gives the attack away."""
    limit, before, after = result.detection.limit, result.length(0), result.length(1)
    moved = f"no pixel moved by more than {scaled(float((result.x[1] - result.x[0]).abs().max()), 'linf')}"
    if result.seen[0] != result.seen[1]:
        seen = f"now sees **{result.name(1)}** (capsule length {after:.2f}) where it saw **{result.name(0)}** "
        seen += f"({before:.2f})"
    else:
        seen = f"still sees **{result.name(1)}**, capsule length {after:.2f} (before {before:.2f})"
    above = result.distance[1] > limit
    gives = "**gives the attack away**" if above else "does **not** give the attack away"
    return (
        f"The capsule network {seen}; {moved}. Its drawing {gives}: it is {result.distance[1]:.2f} from the image, "
        f"{'above' if above else 'within'} the threshold of {limit:.2f}."
    )


def how(setup: Setup, result: Look) -> Mapping[str, object]:
    """The figures in the explanation, from the network's card and the network."""
    card = find_model(setup.models[0]).card()
    weight = card.details.get("rule", {}).get("reconstruction")
    times = f", times {weight:g} (the paper: 0.0005; a detector needs the better decoder)" if weight else ""
    every, decoder = (sum(w.numel() for w in part.parameters()) for part in (setup.net, setup.net.decoder))
    return {"times": times, "parameters": f"{every:,}", "decoder": f"{decoder / every:.0%}"}


def files(setup: Setup, result: Look) -> Sequence[Offer]:
    """The images, and what the network makes of them, as arrays."""
    return (Offer("Arrays (.npz)", "npz", "application/octet-stream", lambda: archive(arrays(result))),)


def arrays(result: Look) -> dict[str, Tensor]:
    """The images, what the network draws of them, and its capsules; clean first, attacked second."""
    inside = {f.name: getattr(result.inside, f.name) for f in fields(result.inside)}
    kept = {name: value for name, value in inside.items() if isinstance(value, Tensor)}
    return {"x": result.x, "drawn": result.drawn, "drawn_of_the_true_class": result.true, **kept}


PAGE: Page[Setup, Look] = Page(
    name=NAME,
    title="Capsules",
    icon=":material/hub:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    tabs={"Inside": inside, "Turn a capsule": turn, "More robust?": robust, "Detector": detector},
    files=files,
    how=how,
    doing=lambda setup: f"Running {name_of(setup.attack)}",
    button="Run the attack",
)
