"""The parts of the Capsules page: a capsule network looked into, beside another network, and as its own detector."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from lab import devices
from lab.attacks import attack as run_attack
from lab.attacks.catalog import find_attack
from lab.data import load_data
from lab.data.catalog import of_task
from lab.defenses.detect import Reconstruction, capsules_of, scores
from lab.experiments.capsules import (
    OFFSETS,
    TRANSFER,
    VOTE,
    WHITE,
    WORST,
    Rivals,
    compare,
    lengths_by_iteration,
    primary_maps,
    sweep,
    turned,
    worst_of,
)
from lab.experiments.defenses.attackers import Attackers, Detection, detected
from lab.experiments.robustness.curves import Outcome
from lab.figures import capsules as figures
from lab.figures.attack import scaled
from lab.images import Images
from lab.models.capsnet import CapsNet, Capsules
from lab.models.catalog import find_model
from lab.ui.parts.forms import PIXEL_STEPS, pixel_label
from lab.ui.parts.pickers import EPS
from lab.ui.parts.result import load, load_all, run_button
from lab.ui.parts.show import show_chart, show_image, show_tabs
from lab.ui.parts.tiles import strip, thumbnail, tiles
from lab.ui.shell import cache
from lab.ui.shell import trained as mine
from lab.ui.shell.ask import Ask
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_here
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.say import attempt

PREFIX = "c_"
"""Of the widgets' keys, and so of the parameters in links."""
TASKS = ("mnist", "fashion_mnist")
FIRST = 1000
"""Images that can be attacked; as many after them set the detector's threshold and measure it."""
COUNTS = (20, 50, 100, 200, 500)
RATES = (1, 2, 5, 10, 20)
"""False-positive rates in percent."""
SIZES = 7
"""Sizes of a curve, with 0."""
SLOW = 20
"""Images on which the detector is tried against Carlini-Wagner, at most."""
ADAPTIVE = "Reconstructive PGD"
"""The attack that knows the detector."""
TURN = 0.5
"""How far a dimension can be turned by hand."""
SMALL = 168
"""Width in pixels of pictures that stand in a row."""
SLIDER = 150
"""Width in pixels of a slider."""
PANEL = 290
"""Width in pixels of one chart of accuracies."""
TITLES = {VOTE: "Vote attack", TRANSFER: "Made on the other net", WORST: "Worst of all, per image"}


@dataclass(frozen=True)
class Setup:
    """What the page shows."""

    task: str
    image: int
    attack: str
    eps: float
    steps: int
    count: int
    rate: float
    seed: int
    rival: str

    @property
    def key(self) -> Hashable:
        """What all results together depend on."""
        return (self.look, self.rivals, self.detection)

    @property
    def look(self) -> Hashable:
        """What the look at one image depends on."""
        return (self.task, self.image, self.attack, self.eps, self.steps, self.seed)

    @property
    def rivals(self) -> Hashable:
        """What the curves depend on."""
        return (self.task, self.rival, self.eps, self.steps, self.count, self.seed)

    @property
    def detection(self) -> Hashable:
        """What the detector's figures depend on."""
        return (self.rivals, self.rate)

    @property
    def models(self) -> tuple[str, str]:
        """Keys of the capsule network and of the net that it is compared with."""
        return f"{self.task}/capsnet", self.rival

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return find_model(self.models[0]).card().classes

    def params(self, key: str) -> dict[str, Any]:
        """The settings that an attack takes; one that searches for the smallest change keeps its own."""
        known = {p.name for p in find_attack(key).params}
        given = {"eps": self.eps, "steps": self.steps}
        return {name: value for name, value in given.items() if name in known} if "eps" in known else {}

    def attackers(self, key: str) -> Attackers:
        """An attack with these settings."""
        return Attackers(key, self.params(key), self.seed)


@dataclass(frozen=True)
class Shown:
    """What the capsule network makes of one image, clean first and attacked second; all on the CPU.

    Attributes:
        setup: what was asked.
        x: the images [2,C,H,W].
        label: the true class.
        seen: the classes that it sees, clean and attacked.
        inside: the capsules of both.
        drawn: what it draws of the class that it sees [2,C,H,W].
        true: what it draws of the true class [2,C,H,W].
        distance: L2 distance of each image from `drawn`.
    """

    setup: Setup
    x: Tensor
    label: int
    seen: tuple[int, int]
    inside: Capsules
    drawn: Tensor
    true: Tensor
    distance: tuple[float, float]

    def name(self, which: int) -> str:
        """Of the class seen in the clean (0) or in the attacked (1) image."""
        return self.setup.classes[self.seen[which]]

    def length(self, which: int) -> float:
        """Of the winning capsule."""
        return float(self.inside.lengths[which, self.seen[which]])


def choose() -> Setup | None:
    """Draws the settings in the sidebar; None where they cannot be used, after saying why."""
    with st.sidebar:
        return attempt(_choose)


def _choose() -> Setup:
    task = Ask(PREFIX.rstrip("_")).task(TASKS)
    image = st.number_input(
        f"Image number, 0 to {FIRST - 1}", 0, FIRST - 1, 0, key=f"{PREFIX}image_{task}", bind="query-params"
    )
    attack = st.selectbox(
        "Attack",
        WHITE,
        WHITE.index("bim"),
        key=f"{PREFIX}attack",
        bind="query-params",
        format_func=lambda k: find_attack(k).name,
        help="On the one image, away from the class that the capsule network sees in it.",
    )
    eps = st.select_slider(
        "Epsilon",
        PIXEL_STEPS,
        EPS["linf"][task],
        key=f"{PREFIX}eps_{task}",
        bind="query-params",
        format_func=pixel_label,
        help="The largest change of any pixel, for all attacks; the curves go up to it.",
    )
    left, right = st.columns(2)
    steps = left.number_input(
        "Iterations", 1, 1000, 20, key=f"{PREFIX}steps", bind="query-params", help="Of every attack that iterates."
    )
    seed = right.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params")
    count = st.select_slider(
        "Images of the curves",
        COUNTS,
        50,
        key=f"{PREFIX}count",
        bind="query-params",
        help="The first images of the set, for “More robust?” and “Detector”.",
    )
    rivals = [key for key in mine.keys(task) if not key.endswith("/capsnet")]
    rival = st.selectbox(
        "Compared with",
        rivals,
        rivals.index(f"{task}/cnn"),
        key=f"{PREFIX}rival_{task}",
        bind="query-params",
        format_func=lambda k: find_model(k).card().name,
        help="In “More robust?”. A net trained with less care falls sooner, which makes the capsules look better.",
    )
    rate = st.select_slider(
        "False alarms allowed",
        RATES,
        5,
        key=f"{PREFIX}rate",
        bind="query-params",
        format_func=lambda r: f"{r}%",
        help="The share of clean images that the detector may flag; it decides the threshold.",
    )
    return Setup(
        task,
        int(image),
        str(attack),
        float(eps) / 255,
        int(steps),
        int(count),
        float(rate) / 100,
        int(seed),
        str(rival),
    )


def settle(setup: Setup | None) -> Setup | None:
    """Draws the run button; returns what is to be shown."""
    return run_button(setup, "capsules", "Run the attack", _forget)


def _forget(setup: Setup) -> None:
    for slot, key in (("capsules", setup.look), ("rivals", setup.rivals), ("detector", setup.detection)):
        forget(slot, key)


def _images(setup: Setup, start: int, stop: int) -> Images:
    return load_data(of_task(setup.task).key).rows(slice(start, stop))


@lru_cache(maxsize=16)
def _guard(task: str, rate: float, seed: int) -> Detection:
    """The detector before any attack: its threshold, and the clean images' distances; the same as in the tab."""
    data, model = load_data(of_task(task).key), cache.model(f"{task}/capsnet")
    clean, one = data.rows(slice(FIRST, 2 * FIRST)), data.rows([0])
    return next(detected(Reconstruction(), model, clean.x, one.x, one.y, Attackers("fgsm", {}, seed), rate=rate))


def computed(setup: Setup) -> Shown | None:
    """The attacked image and what the network makes of it; None while it is at work."""

    def work(job: Job) -> Shown:
        model = load(setup.models[0], job)
        net, device = capsules_of(model), devices.of(model, torch.empty(0))
        data = _images(setup, setup.image, setup.image + 1)
        x, label = data.x.to(device), data.y.to(device)
        with torch.no_grad():
            before = model(x).argmax(1)
        result = run_attack(
            setup.attack,
            model,
            x,
            before,
            seed=setup.seed,
            progress=job.progress,
            **setup.params(setup.attack),
        )
        both = torch.cat([x, result.x])
        with torch.no_grad():
            inside = net.explore(both)
            seen = inside.lengths.argmax(1)
            drawn, true = (net.reconstruct(inside.capsules, k).cpu() for k in (seen, label.expand(2)))
            distance = scores(Reconstruction(), model, both)
        job.tell(0.9, "the detector's threshold")
        _guard(setup.task, setup.rate, setup.seed)
        return Shown(
            setup,
            both.cpu(),
            int(label),
            (int(seen[0]), int(seen[1])),
            _on_cpu(inside),
            drawn,
            true,
            (float(distance[0]), float(distance[1])),
        )

    found = outcome("capsules", setup.look, f"Running {find_attack(setup.attack).name}", work)
    return None if found is None else replace(found, setup=setup)


def _on_cpu(inside: Capsules) -> Capsules:
    moved: dict[str, Any] = {name: value.cpu() for name, value in vars(inside).items() if name != "routing"}
    return Capsules(routing=tuple(shares.cpu() for shares in inside.routing), **moved)


def _net(setup: Setup) -> CapsNet:
    return capsules_of(cache.model(setup.models[0]))


def sentence(shown: Shown) -> str:
    """What the network saw and sees, and whether its drawing gives the attack away."""
    limit = _guard(shown.setup.task, shown.setup.rate, shown.setup.seed).limit
    fooled = shown.seen[0] != shown.seen[1]
    moved = f"no pixel moved by more than {scaled(float((shown.x[1] - shown.x[0]).abs().max()), 'linf')}"
    saw = f"where it saw **{shown.name(0)}** ({shown.length(0):.2f})" if fooled else f"(before {shown.length(0):.2f})"
    seen = f"**{shown.name(1)}**" + (f" (capsule length {shown.length(1):.2f})" if fooled else "")
    if not fooled:
        seen += f", capsule length {shown.length(1):.2f}"
    above = shown.distance[1] > limit
    gives = "**gives the attack away**" if above else "does **not** give the attack away"
    return (
        f"The capsule network {'now' if fooled else 'still'} sees {seen} {saw}; {moved}. Its drawing {gives}: it is "
        f"{shown.distance[1]:.2f} from the image, {'above' if above else 'within'} the threshold of {limit:.2f}."
    )


def show(shown: Shown) -> None:
    """The verdict, the pictures with what the network draws of them, and the lengths of the class capsules."""
    setup = shown.setup
    guard, truth = _guard(setup.task, setup.rate, setup.seed), setup.classes[shown.label]
    st.markdown(f"### {sentence(shown)}")
    st.caption(
        "A class capsule is a vector: its length says how sure the network is of the class, its direction how the "
        f"object looks, and a decoder draws it. At this threshold {setup.rate:.0%} of clean images are false alarms; "
        f"half of the clean images are within {guard.held.median():.2f} of their drawing."
        + ("" if shown.seen[0] == shown.label else f" The label is {truth}: the network was wrong before the attack.")
    )
    truth_drawn = [float(torch.linalg.vector_norm(true - x)) for true, x in zip(shown.true, shown.x, strict=True)]
    rows = [
        (
            (x, f"**{kind}**: seen as {shown.name(k)}"),
            (drawn, f"What it draws of {shown.name(k)}: {shown.distance[k]:.2f} from the image"),
            (true, f"Of the true class, {truth}: {truth_drawn[k]:.2f} from it"),
        )
        for k, (kind, x, drawn, true) in enumerate(
            zip(("Clean", "Attacked"), shown.x, shown.drawn, shown.true, strict=True)
        )
    ]
    left, right = st.columns([3, 2])
    with left:
        for row in rows:
            strip(((thumbnail(x, SMALL), told) for x, told in row), SMALL)
    with right:
        st.markdown("**Lengths of the class capsules**")
        show_chart(
            figures.lengths(shown.inside.lengths, setup.classes),
            "lengths",
            "The longest capsule is the answer. Lengths do not add up to 1: each is a belief of its own.",
        )


def details(shown: Shown) -> None:
    """The tabs; each is computed when it is opened."""
    drawn: Mapping[str, Callable[[Shown], None]] = {
        "Inside": inside,
        "Turn a capsule": turn,
        "More robust?": robust,
        "Detector": detector,
        "How it works": method,
    }
    show_tabs(drawn, "capsules_tabs", shown)


def inside(shown: Shown) -> None:
    """The primary capsules, and the routing to be stepped."""
    net, seen = _net(shown.setup), shown.inside
    clean, attacked = primary_maps(net, seen)
    types, tall, wide = clean.shape
    st.markdown(f"**Primary capsules**: {types} types of part, each looked for at {tall} × {wide} places")
    largest = float(torch.stack([clean, attacked]).max())
    change = float((attacked - clean).abs().max()) or 1.0
    pictures = (
        ("Clean", figures.parts(clean, limit=largest), f"length from 0 (dark) to {largest:.2f} (yellow)"),
        ("Attacked", figures.parts(attacked, limit=largest), "on the same scale"),
        (
            "Change",
            figures.parts(attacked - clean, limit=change, signed=True),
            f"blue rose, red fell, up to {change:.2f}",
        ),
    )
    width = int(pictures[0][1].shape[-1])
    for place, (title, picture, told) in zip(tiles(3, width), pictures, strict=True):
        with place:
            st.markdown(f"**{title}**")
            show_image(picture, f"{title}: lengths of the primary capsules, {told}")
            st.caption(told.capitalize() + ".")
    st.caption(
        "One small map for each type, types 1 to 4 above and 5 to 8 below; a long capsule says that its part is there."
        if types == 8
        else "One small map for each type, row by row; a long capsule says that its part is there."
    )
    st.markdown("**Routing by agreement**, iteration by iteration")
    shares = torch.stack(seen.routing)
    winner = [float(100 * shares[-1, which, :, shown.seen[which]].mean()) for which in (0, 1)]
    top = [float(100 * shares[-1, which].max()) for which in (0, 1)]
    even = 100 / shares.shape[3]
    show_chart(
        figures.routing(shares, lengths_by_iteration(seen), types, shown.setup.classes),
        "routing",
        f"Move the slider back and forth. At first every part is shared out evenly, {even:.0f}% to each class "
        "(white); then parts send more (blue) to the classes on which their votes agree, and less (red) to the "
        f"others. After the last iteration the winner gets {winner[0]:.1f}% of a part on average in the clean image "
        f"and {winner[1]:.1f}% in the attacked one; the most decided part gives {top[0]:.0f}% and {top[1]:.0f}% to "
        "one class. The colours saturate before.",
        alt="Routing coefficients by iteration, clean above attacked, with the class capsules' lengths below",
    )


def turn(shown: Shown) -> None:
    """A class capsule turned: every dimension by itself, and all of them by hand."""
    left, right = st.columns(2)
    which = left.segmented_control(
        "Capsule of the image",
        (0, 1),
        default=0,
        required=True,
        key=f"{PREFIX}turn_image",
        format_func=lambda k: ("clean", "attacked")[k],
    )
    row = int(which or 0)
    label = right.selectbox(
        "Class",
        range(len(shown.setup.classes)),
        shown.seen[row],
        key=f"{PREFIX}turn_class_{shown.seen[row]}",
        format_func=lambda k: f"{shown.setup.classes[k]}, length {shown.inside.lengths[row, k]:.2f}",
    )
    net, k = _net(shown.setup), int(label)
    capsule = shown.inside.capsules[row, k]
    by_hand(net, capsule, k, shown.x[row])
    st.markdown("**Every dimension by itself**")
    show_chart(
        figures.turned(sweep(net, capsule, k), OFFSETS),
        "sheet",
        "Each row turns one dimension of the capsule from −0.25 to +0.25 and leaves the others; the middle column is "
        "the capsule as it is. Look for thickness, slant, width, or a stroke that comes and goes (Sabour et al. 2017, "
        "figure 4). A short capsule draws little that can be read.",
    )


@st.fragment
def by_hand(net: CapsNet, capsule: Tensor, label: int, x: Tensor) -> None:
    """Sliders for all dimensions, and the drawing that results."""
    size = len(capsule)
    keys = [f"{PREFIX}turn_{d}" for d in range(size)]
    for key in keys:
        st.session_state.setdefault(key, 0.0)
    st.markdown("**Turned by hand**")
    pictures = st.container()
    with st.container(width=5 * SLIDER):  # four in a row, two on a narrow screen
        moved = [
            place.slider(f"Dimension {d + 1}", -TURN, TURN, step=0.05, key=key, format="%+.2f")
            for d, (key, place) in enumerate(zip(keys, tiles(size, SLIDER), strict=True))
        ]
    st.button("Reset", key="turn_reset", on_click=_reset, args=(keys,), icon=":material/restart_alt:")
    offsets = torch.stack([torch.zeros(size), torch.tensor(moved)])
    plain, new = turned(net, capsule, label, offsets)
    length = float((capsule + offsets[1]).norm())
    shown = (
        (plain, f"As it is: length {float(capsule.norm()):.2f}"),
        (new, f"**Turned**: length {length:.2f}, the drawing moved by {float((new - plain).norm()):.2f}"),
        (x, "The image that the capsule was found in"),
    )
    with pictures:
        strip(((thumbnail(picture, SMALL), told) for picture, told in shown), SMALL)


def _reset(keys: Sequence[str]) -> None:
    for key in keys:
        st.session_state[key] = 0.0


def robust(shown: Shown) -> None:
    """Both networks under the same attacks, and what that says."""
    setup = shown.setup
    eps = [setup.eps * k / (SIZES - 1) for k in range(SIZES)]
    names = {key: find_model(key).card().name for key in setup.models}

    def work(job: Job) -> tuple[Outcome, ...]:
        first, second = load_all(setup.models, job).values()
        data = _images(setup, 0, setup.count)
        rivals = Rivals(first, second, capsules_of(first), setup.models)

        def watch(share: float, message: str) -> None:
            kind, _, key = message.rpartition(" on ")
            job.tell(share, f"{attack_title(kind)}, {names[key]}")

        found: tuple[Outcome, ...] = ()
        for found in compare(
            rivals, data.x, data.y, eps, seed=setup.seed, cancel=job.cancelled, watch=watch, steps=setup.steps
        ):
            job.partial = found
        job.tell(1.0)
        return found

    def live(found: tuple[Outcome, ...]) -> None:
        panels(found, names, setup.eps)

    found = outcome("rivals", setup.rivals, "Attacking both networks", work, live)
    if not found:
        return
    if not all(o.complete for o in found) or {o.attack for o in found} != {*WHITE, VOTE, TRANSFER}:
        st.warning("Stopped: only what was measured by then is shown, and the worst of all is the worst of that.")
    if said := conclusion(found, names):
        st.markdown(f"#### {said}")
    panels((*found, *(worst_of(found, model) for model in names)), names, setup.eps)
    st.caption(
        f"The first {len(found[0].right)} images, wrong ones included; bars are 95% intervals (Wilson). White-box "
        "attacks follow the network's own gradient. The vote attack (Gu et al. 2021) runs PGD on the average of the "
        "primary capsules' votes and skips the routing; its images are judged by the network with routing. The sixth "
        "panel shows MI-FGSM images made on the other net. An image counts as lost in the last panel if any attack "
        "won, so this is the only panel that may be called robustness, and it is still no proof: other attacks may "
        "do better."
    )


def attack_title(key: str) -> str:
    """The name of what is compared, for a person."""
    return TITLES.get(key) or find_attack(key).name


def panels(found: Sequence[Outcome], names: Mapping[str, str], top: float) -> None:
    """A chart for each attack, all with the same axes, in rows that wrap."""
    with st.container(key="panels"):
        kinds = [k for k in (*WHITE, VOTE, TRANSFER, WORST) if any(o.attack == k and o.eps for o in found)]
        for kind, place in zip(kinds, tiles(len(kinds), PANEL), strict=True):
            with place:
                own = [o for o in found if o.attack == kind and o.eps]
                show_chart(
                    figures.against(own, names, attack_title(kind), top),
                    f"panel_{kind}",
                    alt=f"Accuracy against epsilon, {attack_title(kind)}",
                )


def conclusion(found: Sequence[Outcome], names: Mapping[str, str]) -> str | None:
    """What was measured where one gradient step separates the networks most; None before there is enough."""
    first, second = names
    step = {o.model: o for o in found if o.attack == "fgsm"}
    sizes = [e for e in step[first].eps if e and e in step[second].eps] if set(step) == set(names) else []
    if not sizes:
        return None
    eps = max(sizes, key=lambda e: step[first].at(e).accuracy - step[second].at(e).accuracy)
    one = [step[model].at(eps) for model in names]
    worst = [worst_of(found, model) for model in names]
    last = [o.at(eps).accuracy for o in worst]
    doubt = "" if one[0].low > one[1].high else " (too few images to tell them apart)"
    holds = [e for e in sizes if worst[0].at(e).low > worst[1].at(e).high]
    behind = [e for e in sizes if worst[0].at(e).high < worst[1].at(e).low]
    if holds:
        left = [f"{o.at(holds[-1]).accuracy:.0%}" for o in worst]
        kept = (
            f"The largest size at which it is ahead under all attacks is {scaled(holds[-1], 'linf')} ({left[0]} "
            f"against {left[1]})."
        )
    else:
        kept = "At no size do these images show that it is ahead under all attacks."
    if behind:
        kept += f" At {', '.join(scaled(e, 'linf') for e in behind)} it is the weaker one."
    return (
        f"Under FGSM at {scaled(eps, 'linf')} the capsule network still classes **{one[0].accuracy:.0%}** right, the "
        f"{names[second][0].lower()}{names[second][1:]} {one[1].accuracy:.0%}{doubt}; under the worst of all attacks "
        f"for each image **{last[0]:.0%}** and {last[1]:.0%}. {kept}"
    )


@dataclass(frozen=True)
class Tried:
    """One attacker of the detector."""

    name: str
    attacker: str
    report: Detection

    @property
    def fooled(self) -> Tensor:
        """Which images the network classes wrong [N]."""
        return self.report.trial(self.attacker).seen != self.report.y

    @property
    def undetected(self) -> float:
        """The share of all images that are classed wrong and not detected."""
        return float((self.fooled & ~self.report.trial(self.attacker).flagged).double().mean())


def detector(shown: Shown) -> None:
    """The distance of the drawing as a detector, under attackers who do not know it and one who does."""
    setup = shown.setup

    def work(job: Job) -> tuple[Tried, ...]:
        model = load(setup.models[0], job)
        clean, known = _images(setup, FIRST, 2 * FIRST), Reconstruction()
        found: list[Tried] = []
        for k, key in enumerate(("fgsm", "bim", "pgd", "cw")):
            name = find_attack(key).name
            data = _images(setup, 0, setup.count if key != "cw" else min(setup.count, SLOW))
            part = job.progress.part(k / 4, (k + 1) / 4, key)
            part.tell(0.0)
            attackers = setup.attackers(key)
            runs = detected(known, model, clean.x, data.x, data.y, attackers, rate=setup.rate, progress=part)
            for report in runs:
                last = report.trials[-1].attacker
                if last != "none":
                    new = Tried(name, last, report) if last == "oblivious" else Tried(ADAPTIVE, "adaptive", report)
                    found.append(new)
                    job.partial = tuple(found)
                    if last == "oblivious" and key != "pgd":
                        break
        job.tell(1.0)
        return tuple(found)

    def live(found: tuple[Tried, ...]) -> None:
        _detections(setup, found, final=False)

    found = outcome("detector", setup.detection, "Attacking what the detector is to flag", work, live)
    if found:
        _detections(setup, found, final=True)


def _detections(setup: Setup, found: Sequence[Tried], *, final: bool) -> None:
    guard = found[0].report
    st.markdown(f"#### {caught(found)}")
    percent = st.column_config.NumberColumn(format="percent")
    rows = []
    for tried in found:
        curve = tried.report.curve(tried.attacker)
        rows.append(
            {
                "attack": tried.name,
                "fools": _rounded(float(tried.fooled.double().mean())),
                "detected of those": _rounded(tried.report.detected(tried.attacker)),
                "wrong and undetected": _rounded(tried.undetected),
                "area under ROC": None if curve is None else curve.area,
                "images": len(tried.fooled),
            }
        )
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        key="detections",
        column_config={
            "fools": percent,
            "detected of those": percent,
            "wrong and undetected": percent,
            "area under ROC": st.column_config.NumberColumn(format="%.3f"),
        },
    )
    st.caption(
        f"Detected: the drawing of the class that is seen is more than {guard.limit:.2f} from the image (L2). The "
        f"threshold flags {setup.rate:.0%} of {len(guard.calibration)} clean images drawn at random; of "
        f"{len(guard.held)} others it flags {guard.false:.1%}. None of these is attacked. Epsilon "
        f"{scaled(setup.eps, 'linf')}; Carlini-Wagner instead looks for the smallest change. {ADAPTIVE} adds the "
        "detector to its loss, so that the network draws what the attacker shows it (Qin et al. 2020); it stops "
        "just below this threshold, which is why its ROC curve looks better than its row."
    )
    curves = {t.name: c for t in found if (c := t.report.curve(t.attacker)) is not None}
    if not final or not curves:
        return
    by_name = {t.name: t for t in found}
    left, right = st.columns(2)
    with left:
        chosen = st.selectbox("Attack in the histogram", list(curves), key=f"{PREFIX}histogram")
        tried = by_name[str(chosen)]
        attacked = tried.report.trial(tried.attacker).scores
        if attacked is not None:
            show_chart(
                figures.errors(guard.held, attacked[tried.fooled], guard.limit),
                "errors",
                "Clean images that the threshold was not set on, and the attacked images that fool the network. To the "
                "right of the threshold an image is flagged.",
            )
    with right:
        st.markdown("**Whatever the threshold**")
        show_chart(
            figures.rocs(curves, setup.rate),
            "rocs",
            "The higher a curve, the better the detector tells this attack from clean images. The vertical line is the "
            "rate of false alarms that is allowed.",
        )


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 2)


def caught(found: Sequence[Tried]) -> str:
    """How many the drawing gives away, and how many pass once the attacker knows it."""
    told = [
        f"**{t.report.detected(t.attacker):.0%}** of {t.name}"
        for t in found
        if t.attacker == "oblivious" and t.report.detected(t.attacker) is not None
    ]
    said = f"Of the images that fool the network, its drawing gives away {', '.join(told)}." if told else ""
    knows = next((t for t in found if t.attacker == "adaptive"), None)
    if knows is not None:
        passed = f"**{knows.undetected:.0%}** of all images"
        said += f" An attacker who knows the detector gets {passed} past network and detector."
    return said or "No image fools the network."


def method(shown: Shown) -> None:
    """The formulas, the papers, and where the code is."""
    card = find_model(shown.setup.models[0]).card()
    st.markdown("**Squash.** A capsule's vector keeps its direction; its length becomes a belief between 0 and 1:")
    st.latex(r"v_j = \frac{\lVert s_j\rVert^2}{1 + \lVert s_j\rVert^2}\,\frac{s_j}{\lVert s_j\rVert}")
    st.markdown(
        "**Routing.** Each primary capsule $u_i$ votes for what each class capsule should be, $\\hat u_{j|i} = "
        "W_{ij} u_i$. It starts with even shares ($b_{ij} = 0$), and three times over gives more to the classes that "
        "its vote agrees with:"
    )
    st.latex(
        r"\begin{aligned} c_{ij} &= \frac{\exp b_{ij}}{\sum_k \exp b_{ik}} \\ s_j &= \sum_i c_{ij}\,\hat u_{j|i} \\ "
        r"b_{ij} &\leftarrow b_{ij} + \hat u_{j|i}\cdot v_j \end{aligned}"
    )
    st.markdown("**Margin loss.** In training, the capsule of the true class is to be long and all others short:")
    st.latex(
        r"\begin{aligned} L = \sum_k\ & T_k \max(0,\, 0.9 - \lVert v_k\rVert)^2 \\ "
        r"+\ & 0.5\,(1 - T_k) \max(0,\, \lVert v_k\rVert - 0.1)^2 \end{aligned}"
    )
    weight = card.details.get("rule", {}).get("reconstruction")
    st.markdown(
        "To it is added the squared distance between the image and the drawing"
        + (f", times {weight:g} (the paper: 0.0005; a detector needs the better decoder)." if weight else ".")
        + f" This network has {card.parameters:,} weights, two thirds of them in the decoder (the paper's has 8.2 "
        "million), and saw no attacked image in its training."
    )
    st.markdown(
        "**Vote attack.** Routing bends the gradient. Its images are made on a network without it, whose class "
        "capsules are the averages of all votes:"
    )
    st.latex(
        r"x' = \arg\max_{\lVert x' - x\rVert_\infty \le \epsilon} J\Big(\tfrac1I \sum_i \hat u_{\cdot|i}(x'),\ y\Big)"
    )
    st.markdown(
        "**Detector.** An image is flagged if the drawing of the winning capsule is farther from it than the "
        "threshold. **Reconstructive attack:** a wrong class is aimed at in a model with one class more, *detected*, "
        "which wins wherever the distance is above the threshold."
    )
    st.latex(r"\lVert x - r(v_{\hat y})\rVert_2 > \theta")
    st.markdown(
        "- [Sabour, Frosst, Hinton 2017](https://arxiv.org/abs/1710.09829), capsules and dynamic routing: "
        "`lab/models/capsnet.py`\n"
        "- [Frosst, Sabour, Hinton 2018](https://arxiv.org/abs/1811.06969), the drawing as a detector; "
        "[Qin et al. 2020](https://arxiv.org/abs/1907.02957), the reconstructive attack: `lab/defenses/detect.py`, "
        "`lab/experiments/defenses/attackers.py`\n"
        "- [Michels et al. 2019](https://arxiv.org/abs/1906.03612), no general advantage of capsules; "
        "[Gu, Wu, Tresp 2021](https://arxiv.org/abs/2102.10055), the vote attack: `lab/experiments/capsules.py`\n"
        "- The figures on official test images: `python -m benchmarks.capsules`"
    )
    link_here("The link to this page")


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
    name="capsules",
    title="Capsules",
    icon=":material/hub:",
    about=prose("capsules", "About"),
    shared=False,
    body=_body,
)
