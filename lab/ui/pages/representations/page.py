"""The parts of the Representations page: what a network computes on its way, for the clean and the attacked picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st
import torch
from torch import Tensor
from torch.nn import functional as F

from lab.attacks.norms import TINY
from lab.data import load_data
from lab.data.catalog import CATALOG as DATASETS
from lab.data.photographs import CROPS, crops, with_label
from lab.data.spec import DataSpec
from lab.experiments.attack import report
from lab.experiments.representations.activations import NOISES, Depth, Layer, activations, depth, features, layers
from lab.experiments.representations.attribution import METHODS, attribution
from lab.experiments.representations.directions import TOP, Space
from lab.experiments.representations.embedding import Embedding, embed
from lab.experiments.representations.lipschitz import Stretch, bound, operator_norms
from lab.figures import representations as figures
from lab.images import Images, bytes_of
from lab.models.cards import Card
from lab.types import ModelError
from lab.ui.parts.pickers import DEFAULT_ATTACK
from lab.ui.parts.result import Shown, attacked_tile, clean_tile, compute, run_button, show_link, verdict
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.shared import pick_scenario
from lab.ui.parts.show import show_chart, show_image, show_tabs
from lab.ui.parts.tiles import THUMBNAIL, show_tiles, strip
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

SHEET = 32
"""Feature maps on a sheet."""
SAMPLE = 1000
"""Digits or clothes that are looked at."""
DOTS = 300
"""Pictures of an embedding, at most."""
AT_ONCE = 20
"""Pictures that go through the network together; between them a job can be cancelled."""
WAY = 9
"""Pictures on the way from the clean to the attacked one."""


@dataclass(frozen=True)
class Sample:
    """Some hundred labelled pictures, and what every stage of a network answers for them.

    Attributes:
        features: by stage [N,D].
        labels: int64 [N].
        small: the pictures as bytes [N,THUMBNAIL,THUMBNAIL,C].
    """

    features: Mapping[str, Tensor]
    labels: Tensor
    small: Tensor


@dataclass(frozen=True)
class Seen:
    """A finished attack, and the stages of the network."""

    shown: Shown
    layers: tuple[Layer, ...]

    @property
    def model_key(self) -> str:
        """Of the network."""
        return self.shown.scenario.request.model

    @property
    def clean(self) -> Tensor:
        """The picture [1,C,H,W]."""
        return self.shown.run.clean

    @property
    def attacked(self) -> Tensor:
        """The attacked picture [1,C,H,W], on the CPU."""
        return self.shown.run.result.x.cpu()

    @property
    def path(self) -> Tensor:
        """The pictures of the trajectory that were kept [M,C,H,W], clean one first, the result last."""
        frames = [f.x for f in self.shown.run.result.frames if len(f.x)]
        return torch.cat([self.clean, *frames[1:], self.attacked])

    @property
    def way(self) -> Tensor:
        """Pictures [WAY,C,H,W] on the straight line from the clean to the attacked one."""
        share = torch.linspace(0, 1, WAY).view(-1, 1, 1, 1)
        return self.clean + share * (self.attacked - self.clean)


def settle(scenario: Scenario | None) -> Scenario | None:
    """Draws the run button; returns the scenario whose result is to be shown."""
    return run_button(scenario, "representations", "Run the attack", lambda s: forget("attack", s.key))


def attacked(scenario: Scenario) -> Seen | None:
    """The result of a scenario and the network's stages; None while either is at work."""
    shown = compute(scenario)
    if shown is None:
        return None

    def work(job: Job) -> tuple[Layer, ...]:
        return layers(cache.model(scenario.request.model), shown.run.clean)

    found = outcome("layers", (scenario.request.model,), "Listing the network's stages", work)
    return None if found is None else Seen(shown, found)


def header(seen: Seen) -> None:
    """What the attack did, and both pictures."""
    verdict(seen.shown)
    show_tiles([[clean_tile(seen.shown)], [attacked_tile(seen.shown)]])


def profile(seen: Seen) -> None:
    """The stages with their shapes, and how far the features move at each."""

    if not seen.shown.run.moved:
        st.info("The picture did not move, so no features do.")
        return
    found = outcome("depth", seen.shown.key, "Comparing the features of every stage", partial(_depth, seen))
    if found is None:
        return
    last, first = found.attack[-1].item(), found.at_input
    control = found.noise[-1].item()
    st.markdown(
        f"The pictures differ by **{first:.2%}** of their length; the last stage's features by **{last:.0%}** under "
        f"the attack, and by {control:.0%} under noise of the same length. So the network makes the attack "
        f"**{last / max(first, TINY):.0f} times** larger on its way, and noise {control / max(first, TINY):.1f} times."
    )
    show_chart(
        figures.depth_profile(found),
        "depth",
        f"Each point is a stage, from the picture on the left to the logits on the right. Noise: the mean of {NOISES} "
        "random perturbations with the same L2 length as the attack. An attack is no larger than noise at the picture; "
        "the gap that opens is how the network's own features carry it (Szegedy et al. 2013, section 4.3).",
    )
    with st.expander("All stages"):
        rows = [
            {
                "stage": layer.name.removeprefix("net."),
                "kind": layer.kind,
                "shape": " × ".join(map(str, layer.shape)),
                "moved by the attack": f"{a:.1%}",
                "by noise": f"{n:.1%}",
            }
            for layer, a, n in zip(found.layers, found.attack.tolist(), found.noise.tolist(), strict=True)
        ]
        st.dataframe(rows, hide_index=True, width="stretch", key="stages")


def _depth(seen: Seen, job: Job) -> Depth:
    return depth(cache.model(seen.model_key), seen.clean, seen.attacked, seed=seen.shown.scenario.aim.seed)


def pick_layer(seen: Seen, key: str, *, maps: bool) -> Layer | None:
    """Draws the choice of a stage; None where the network has none of the kind."""
    offered = (
        [layer for layer in seen.layers if layer.is_map and min(layer.shape[1:]) > 1] if maps else list(seen.layers)
    )
    if not offered:
        st.info("This network has no stage with feature maps: it sees the picture as one long vector.")
        return None
    names = [layer.name for layer in offered]
    by_name = dict(zip(names, offered, strict=True))
    whole = [k for k, layer in enumerate(offered[:-1]) if not layer.kind.startswith("Dropout")]  # drops nothing here
    start = len(names) // 2 if maps else max(whole, default=0)
    chosen = st.selectbox(
        "Stage", names, index=start, key=key, format_func=lambda n: by_name[n].label, bind="query-params"
    )
    return by_name[chosen]


def feature_maps(seen: Seen) -> None:
    """The maps of one stage that change the most, and one of them enlarged and followed."""
    layer = pick_layer(seen, "map_stage", maps=True)
    if layer is None:
        return

    def work(job: Job) -> Tensor:
        pair = torch.cat([seen.clean, seen.attacked])
        return activations(cache.model(seen.model_key), pair, [layer.name])[layer.name]

    found = outcome("maps", (seen.shown.key, layer.name), "Computing the feature maps", work)
    if found is None:
        return
    clean, changed = found
    moved = (changed - clean).flatten(1).norm(dim=1)
    order = moved.argsort(descending=True)[:SHEET]
    per_map = st.toggle(
        "Each map on its own scale",
        key="own_scale",
        help="Off: one scale for all maps, so that their strengths compare.",
    )
    low_high = f"from {float(min(clean.min(), changed.min())):.3g} to {float(max(clean.max(), changed.max())):.3g}"
    scale = "each map from its own smallest to its own largest value" if per_map else f"one scale for all, {low_high}"
    st.caption(
        f"The {len(order)} of {len(clean)} maps that the attack changes most, the most changed first, row by row; "
        f"{scale}. In the difference, blue rose and red fell."
    )
    columns = st.columns(3)
    for column, (title, values, signed) in zip(
        columns,
        (("Clean", clean, False), ("Attacked", changed, False), ("Difference", changed - clean, True)),
        strict=True,
    ):
        with column:
            st.markdown(f"**{title}**")
            show_image(figures.sheet(values[order], shared=not per_map, signed=signed), f"{title} feature maps")
    channel = st.selectbox(
        "Map to look at",
        order.tolist(),
        key="channel",
        format_func=lambda c: f"map {c}: changed by {moved[c] / clean[c].norm().clamp(min=TINY):.0%} of its length",
    )
    show_chart(
        figures.maps(clean[channel], changed[channel]),
        "map",
        "The same map enlarged; clean and attacked share one scale. Hover for values.",
    )
    followed = along(seen)
    if followed is None:
        return
    means = followed[layer.name][:, channel]
    left, right = st.columns(2)
    eps = [seen.shown.run.moved * k / (WAY - 1) * (255 if seen.shown.run.norm == "linf" else 1) for k in range(WAY)]
    unit = "n/255" if seen.shown.run.norm == "linf" else seen.shown.run.norm.upper()
    with left:
        st.markdown("**Along the attack's direction**")
        show_chart(
            figures.follow({"attack": (eps, means[:WAY].tolist())}, f"size of the perturbation ({unit})"), "by_eps"
        )
    with right:
        st.markdown("**Along the attack's iterations**")
        path = means[WAY:].tolist()
        show_chart(figures.follow({"attack": (range(len(path)), path)}, "picture kept of the trajectory"), "by_step")


def along(seen: Seen) -> Mapping[str, Tensor] | None:
    """Every stage's features of the pictures on the straight way [:WAY] and on the attack's path; None at first."""
    pictures = torch.cat([seen.way, seen.path])

    def work(job: Job) -> Mapping[str, Tensor]:
        model, found = cache.model(seen.model_key), []
        for k in range(0, len(pictures), AT_ONCE):
            job.tell(k / len(pictures), f"{k} of {len(pictures)} pictures")
            found.append(features(model, pictures[k : k + AT_ONCE]))
        return _joined(found)

    return outcome("along", seen.shown.key, "Following the features along the attack", work)


def sample(seen: Seen) -> Sample | None:
    """The set that the network is shown, with its features; computed once for a model, None until then."""
    card = seen.shown.scenario.card

    def work(job: Job) -> Sample:
        model, sets, found = cache.model(seen.model_key), _sets(card), []
        for k, load in enumerate(sets):
            job.tell(k / len(sets), f"part {k + 1} of {len(sets)}")
            images = load()
            small = torch.stack([bytes_of(_thumbnail(x)) for x in images.x])
            found.append(Sample(features(model, images.x), images.y, small))
        return Sample(
            _joined([s.features for s in found]),
            torch.cat([s.labels for s in found]),
            torch.cat([s.small for s in found]),
        )

    return outcome("sample", (seen.model_key,), "Showing the network a set of pictures", work)


def _sets(card: Card) -> list[Callable[[], Images]]:
    """What loads the labelled pictures that a model is shown, a few at a time."""
    if card.task == "imagenet":
        return [partial(crops, photograph, card.fit) for photograph in with_label()]
    data = load_data(_dataset(card).key, card=card)
    return [partial(data.rows, slice(k, k + AT_ONCE)) for k in range(0, SAMPLE, AT_ONCE)]


def _dataset(card: Card) -> DataSpec:
    return next(d for d in DATASETS.values() if d.task == card.task)


def about_set(card: Card, shown: int) -> str:
    """What the pictures of the set are."""
    if card.task != "imagenet":
        return f"The pictures: {shown:,} of {_dataset(card).name}."
    return (
        f"The pictures: {CROPS} random crops of each of {len(with_label())} photographs, half of them mirrored. "
        "So pictures of one class all show the same photograph, and agree more easily than a class usually does."
    )


def _joined(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def _thumbnail(x: Tensor) -> Tensor:
    """A picture [C,H,W] as [C,THUMBNAIL,THUMBNAIL]."""
    way = "nearest-exact" if x.shape[-1] < THUMBNAIL else "area"
    return F.interpolate(x[None], (THUMBNAIL, THUMBNAIL), mode=way)[0]


def directions(seen: Seen) -> None:
    """What excites a unit, beside what excites a random direction."""
    layer = pick_layer(seen, "unit_stage", maps=False)
    shown = sample(seen) if layer else None
    if layer is None or shown is None:
        return
    space, classes = Space(shown.features[layer.name], shown.labels), seen.shown.scenario.card.classes
    left, right = st.columns(2)
    unit = int(
        left.number_input(
            f"Unit, 0 to {space.units - 1}",
            0,
            space.units - 1,
            0,
            key="unit",
            help="One of the numbers that the stage answers; of a feature map, its mean.",
        )
    )
    draw = int(
        right.number_input(
            "Random direction",
            0,
            999,
            0,
            key="direction",
            help="A random mixture of all units of the stage; every number is another one.",
        )
    )
    direction = space.random(draw + 1)[draw]
    for name, chosen in (("the unit", unit), ("the random direction", direction)):
        st.markdown(
            f"**The {TOP} pictures that excite {name} most**: {space.purity(chosen) * TOP:.0f} of {TOP} share their "
            "commonest class"
        )
        strip([(shown.small[i], classes[int(shown.labels[i])]) for i in space.top(chosen).tolist()])
    st.caption(about_set(seen.shown.scenario.card, len(shown.labels)))
    units, random = space.purities()
    show_chart(
        figures.purity(units, random, space.chance()),
        "purity",
        f"How often the {TOP} top pictures agree: over {len(units):,} units that are ever active and {len(random)} "
        f"random directions; dotted, {TOP} pictures drawn blindly ({space.chance():.0%} on average). Szegedy et al. "
        "(2013, section 3) found random directions to look as meaningful as units, and concluded that the space "
        "carries the meaning, not the single unit.",
    )


def attributions(seen: Seen) -> None:
    """Which pixels speak for the class, clean and attacked, on the same scale."""
    study, card = seen.shown.run, seen.shown.scenario.card

    def work(job: Job) -> dict[str, tuple[Tensor, Tensor]]:
        model, maps = cache.model(seen.model_key), {}
        for k, method in enumerate(METHODS):
            job.tell(k / len(METHODS), method)
            try:
                maps[method] = (
                    attribution(model, seen.clean, study.seen, method),
                    attribution(model, seen.attacked, study.now, method),
                )
            except ModelError:  # a network without maps has no Grad-CAM
                continue
        return maps

    found = outcome("attributions", seen.shown.key, "Attributing", work)
    if found is None:
        return
    st.markdown(
        f"For the clean picture: what speaks for **{card.classes[study.seen]}**; for the attacked one: what speaks for "
        f"**{card.classes[study.now]}**."
    )
    show_chart(
        figures.attributions(found),
        "attribution",
        "Blue speaks for the class, red against it, summed over the colours; each method has one scale for both "
        "pictures. Input gradient: how the class's logit moves with each pixel. Integrated gradients: its mean on the "
        "way from black, times the picture. Grad-CAM: the last feature maps, weighted by how they raise the class; "
        "blank where none does.",
    )


def instability(seen: Seen) -> None:
    """How much each layer can stretch a change at most, beside what the attack really gets."""

    def work(job: Job) -> tuple[tuple[Stretch, ...], float]:
        model = cache.model(seen.model_key)
        norms = operator_norms(model, seen.clean, watch=lambda share: job.tell(share, "layer by layer"))
        with torch.no_grad():
            out = model(torch.cat([seen.clean, seen.attacked]))
        moved = float((seen.attacked - seen.clean).norm())
        return norms, float((out[1] - out[0]).norm()) / max(moved, TINY)

    found = outcome("norms", (seen.shown.key,), "Iterating through every layer", work)
    if found is None:
        return
    norms, measured = found
    if not norms:
        st.info("This network has no linear or convolutional layers.")
        return
    st.markdown(
        f"The product of all {len(norms)} norms is **{_rounded(bound(norms))}**: in a plain chain of layers, no change "
        f"of the picture can grow more than that. This attack's change grew **{_rounded(measured)}** times (L2 of the "
        "logits over L2 of the picture)."
    )
    show_chart(
        figures.stretches(norms),
        "norms",
        "The operator norm of each layer, from the picture to the logits: the most that it can stretch any change, "
        "found by power iteration through the layer itself; dotted: 1, no stretch. A large bound proves nothing, a "
        "small one would certify (Szegedy et al. 2013, section 4.3). Where a network has shortcuts or branches, the "
        "product is no bound; the bars still tell which layers stretch.",
    )


def _rounded(value: float) -> str:
    """Three digits, and no power of ten below a million."""
    if value < 1e6:
        return f"{float(f'{value:.3g}'):,.10g}"
    digits, power = f"{value:.2e}".split("e+")
    return f"{digits} × 10{power.translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def plane_of_features(seen: Seen) -> None:
    """A few hundred images in the plane of largest variance, and the attack's way through them."""
    layer = pick_layer(seen, "plane_stage", maps=False)
    shown = sample(seen) if layer else None
    path = along(seen) if shown else None
    if layer is None or shown is None or path is None:
        return

    def work(job: Job) -> Embedding:
        return embed(shown.features[layer.name][:DOTS], path[layer.name][WAY:])

    found = outcome("embedding", (seen.shown.key, layer.name), "Projecting the features", work)
    if found is None:
        return
    labels = shown.labels[:DOTS].tolist()
    show_chart(
        figures.embedding(found, labels, seen.shown.scenario.card.classes),
        "embedding",
        "Every dot is a picture of the set, placed by the stage's features (the two directions in which they vary "
        "most). The line is the attacked picture, from clean (large dot) to attacked (cross), iteration by iteration.",
    )
    st.caption(about_set(seen.shown.scenario.card, len(labels)))


def take_away(seen: Seen) -> None:
    """Files with what was measured, the Python that computes it, and the link."""
    scenario, done = seen.shown.scenario, seen.shown.run
    found = outcome("depth", seen.shown.key, "Comparing the features of every stage", partial(_depth, seen))
    if found is None:
        return
    told = report.manifest(scenario.request, done, scenario.card.classes) | {"depth": report.profile(found)}
    table = "stage,kind,shape,attack,noise\n" + "".join(
        f"{row['stage']},{row['kind']},{'x'.join(map(str, row['shape']))},{row['attack']:.6g},{row['noise']:.6g}\n"
        for row in told["depth"]
    )
    stem = f"representations_{scenario.request.image}"
    offers = (
        Offer("Depth profile (.csv)", "csv", "text/csv", table),
        Offer("Manifest (.json)", "json", "application/json", json.dumps(told, indent=2)),
        Offer("Pictures (.npz)", "npz", "application/octet-stream", report.arrays(done)),
    )
    offer_files(stem, "inside", offers)
    st.markdown("**The Python that computes this**")
    st.code(report.python(scenario.request) + "\n" + report.LOOK_INSIDE, language="python", wrap_lines=True)
    show_link(scenario.request)


TABS: Mapping[str, Callable[[Seen], None]] = {
    "Depth profile": profile,
    "Feature maps": feature_maps,
    "Units and directions": directions,
    "Attribution": attributions,
    "Instability": instability,
    "Embedding": plane_of_features,
    "Take away": take_away,
}


def details(seen: Seen) -> None:
    """The tabs; each is computed when it is opened."""
    show_tabs(TABS, "inside", seen)


def _body() -> None:
    scenario = settle(pick_scenario(Ask("representations"), DEFAULT_ATTACK))
    if scenario is None:
        st.info("Choose a picture and settings that work in the sidebar; the reason is written there.")
        return
    seen = attacked(scenario)
    if seen is not None:
        with st.container(key="result"):
            header(seen)
            details(seen)


PAGE: Page[Any, Any] = Page(
    name="representations",
    title="Representations",
    icon=":material/layers:",
    about=prose("representations", "About"),
    shared=True,
    body=_body,
)
