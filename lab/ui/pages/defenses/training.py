"""Adversarial training, live: a view of the Defenses page."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import streamlit as st
import torch
from torch import Tensor, nn

from lab import attacks, devices
from lab.assets import ASSETS
from lab.data import load_data
from lab.data.catalog import TASKS, of_task
from lab.data.official import CLASSES
from lab.data.training import BUNDLED, SIZES, sources
from lab.figures import training as figures
from lab.figures.attack import scaled
from lab.models.catalog import find_model, name_elsewhere
from lab.models.weights import save_weights
from lab.params import Value
from lab.predict import logits_of
from lab.training.fit import Epoch
from lab.training.presets import PRESETS
from lab.training.rules import perturb
from lab.training.session import MEASURED, STEPS, Folder, Plan, Trained, TrainingRun, card
from lab.ui.parts.forms import PIXEL_STEPS, form, pixel_label, restart
from lab.ui.parts.pickers import EPS
from lab.ui.parts.show import show_chart, show_image
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell import cache, trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import Job, forget, outcome
from lab.ui.shell.links import link_to
from lab.ui.shell.say import attempt
from lab.ui.shell.words import model_label

PREFIX = "t_"
ASK = Ask(PREFIX.rstrip("_"))
"""Of the widgets' keys, and so of the parameters in links."""
SLOT = LANE = "training"
"""A training has a worker of its own, so that nobody's attack waits for minutes."""
LOOK = 40
"""Steps of the attack on the one image."""
STARTS = 16
"""Random starts of which the mean is shown."""
COUNTS = (200, 500, 1000, 2000, 4000, 8000, 20_000)
START_COUNT = 4000
COURSES = 4
"""Trainings of a session that can be resumed; the oldest are dropped."""
NETS = {
    "mlp": "Fully connected, 100-100",
    "cnn_small": "Convolutional, small",
    "cnn": "Convolutional",
    "cnn_wide": "Convolutional, wide",
    "maxout": "Maxout",
}
STATED = {"mnist": 0.3, "fashion_mnist": 0.1}
"""Epsilon at which the cards of the zoo state robust accuracy, by task."""
COLUMNS = ("training", "epsilon", "wrong when clean", "under FGSM", "under PGD")
MEASUREMENTS = (
    ("Convolutional, FGSM alone from zero, 6 epochs", 0.3, "3.4%", "4.3%", "99.8% (50 steps)"),
    ("Convolutional, fast, 6 epochs", 0.3, "0.9%", "3.9%", "7.1% (50 steps)"),
    ("Fully connected 256-256, FGSM half and half, 5 epochs", 0.25, "1.9%", "14.6%", "99.9% (40 steps)"),
)
"""What `python -m benchmarks.training` printed."""
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "Show me catastrophic overfitting": {"rule": "zero"},
    "Fast, as it should be": {"rule": "fast"},
}
"""What the buttons set, beside the defaults."""


def view() -> None:
    """Draws the settings in the sidebar, and the training and what it brought in the main column."""
    with st.sidebar:
        plan = attempt(_choose)
        pressed = st.button(
            "Train", type="primary", key=f"{PREFIX}train", width="stretch", disabled=plan is None
        ) or bool(st.session_state.pop("_train_now", False))
    if plan is None:
        st.info("Choose settings that work in the sidebar; the reason is written there.")
        return
    if pressed:
        st.session_state["_training"] = plan
    applied: Plan | None = st.session_state.get("_training")
    above, below = st.container(), st.container()
    with below:  # first, so that it does not wait for the training
        _comparison(applied or plan, None if applied is None else _course(applied))
        _lesson()
    with above:
        _training(plan, applied)


def _choose() -> Plan:
    task = ASK.task(SIZES, _new_task)
    where = sources(task)
    source = BUNDLED
    if len(where) > 1:
        source = str(
            st.segmented_control(
                "Training images",
                list(where),
                default=BUNDLED,
                required=True,
                key=f"{PREFIX}source",
                bind="query-params",
                format_func=lambda s: f"{s.capitalize()}, {where[s]:,}",
                width="stretch",
            )
        )
    net = str(
        st.selectbox("Net", list(NETS), 2, key=f"{PREFIX}net", bind="query-params", format_func=lambda n: NETS[n])
    )
    way = str(
        st.selectbox(
            "Rule",
            list(PRESETS),
            list(PRESETS).index("pgd"),
            key=f"{PREFIX}rule",
            bind="query-params",
            format_func=lambda w: PRESETS[w].name,
            on_change=_new_rule,
        )
    )
    chosen = PRESETS[way]
    st.caption(f"{chosen.about} [{chosen.source}](https://arxiv.org/abs/{chosen.arxiv})")
    eps = float(
        st.select_slider(
            "Epsilon: size of the attack",
            PIXEL_STEPS[1:],
            EPS["linf"][task],
            format_func=pixel_label,
            key=f"{PREFIX}eps",
            on_change=_new_eps,
            bind="query-params",
            help="What the rule trains against, and what is measured after every epoch.",
        )
    )
    params = form(chosen.params, _sizes(way, eps), ASK)
    left, right = st.columns(2)
    epochs = int(left.number_input("Epochs", 1, 100, 8, key=f"{PREFIX}epochs", bind="query-params"))
    seed = int(right.number_input("Seed", 0, 2**31 - 1, 0, key=f"{PREFIX}seed", bind="query-params"))
    counts = [n for n in (*COUNTS, where[source]) if n <= where[source]]
    images = int(
        st.select_slider(
            "Images",
            sorted(set(counts)),
            START_COUNT,
            key=f"{PREFIX}images_{task}_{source}",
            format_func=lambda n: f"{n:,}",
            bind="query-params",
            help="How many to train on: more take longer and make a better net.",
        )
    )
    lr = float(
        st.number_input(
            "Learning rate", 0.0001, 0.1, 0.005, step=0.0005, format="%g", key=f"{PREFIX}lr", bind="query-params"
        )
    )
    return Plan(task, source, net, way, tuple(params.items()), eps / 255, epochs, images, lr, seed)


def _sizes(way: str, eps: float) -> dict[str, Value]:
    """The step size that suits an epsilon, in 255ths."""
    return {"alpha": min(PIXEL_STEPS, key=lambda n: abs(n - eps * PRESETS[way].step))}


def _new_task() -> None:
    st.session_state[f"{PREFIX}eps"] = EPS["linf"][str(st.session_state[f"{PREFIX}task"])]
    _new_eps()


def _new_eps() -> None:
    way, eps = str(st.session_state[f"{PREFIX}rule"]), float(st.session_state[f"{PREFIX}eps"])
    if f"{PREFIX}alpha" in st.session_state:
        st.session_state[f"{PREFIX}alpha"] = _sizes(way, eps)["alpha"]


def _new_rule() -> None:
    way, eps = str(st.session_state[f"{PREFIX}rule"]), float(st.session_state[f"{PREFIX}eps"])
    restart((), PRESETS[way].params, _sizes(way, eps), ASK)


def _take(preset: str) -> None:
    """Sets the widgets to a preset, and trains."""
    asked = {"task": "mnist", "source": BUNDLED, "net": "cnn", "eps": 76.5, "epochs": 8, "lr": 0.005, "seed": 0}
    asked |= {f"images_mnist_{BUNDLED}": START_COUNT, **EXAMPLES[preset]}
    way = str(asked["rule"])
    restart((), PRESETS[way].params, _sizes(way, float(str(asked["eps"]))), ASK)
    for name, value in asked.items():
        st.session_state[PREFIX + name] = value
    st.session_state["_train_now"] = True


def _training(plan: Plan, applied: Plan | None) -> None:
    """The verdict, the chart, and what can be done with the net."""
    place = st.container()
    with st.container(horizontal=True, gap="small"):
        for k, name in enumerate(PRESETS):
            st.button(name, key=f"{PREFIX}preset_{k}", on_click=_take, args=(name,), icon=":material/play_arrow:")
    with place:
        if applied is None:
            _welcome(plan)
            return
        found = _trained(applied)
        if found is None:
            return
        if plan.key != applied.key:
            st.info("The settings have changed since this training: press Train to train anew.", icon=":material/info:")
        _show(found)
        if not found.finished and st.button("Resume", type="primary", key=f"{PREFIX}resume", icon=":material/resume:"):
            forget(SLOT, applied.key)
            st.rerun()
        if found.net is not None:
            _save(found, found.net)


def _welcome(plan: Plan) -> None:
    """What adversarial training is worth, by the zoo's cards, and the place of the chart."""
    eps = STATED[plan.task]
    told = []
    for name in ("cnn", "cnn_pgd_at"):
        card = find_model(f"{plan.task}/{name}").card()
        found = card.under_attack(eps)
        told.append((f"{card.accuracy or 0:.1%}", f"{found.accuracy if found else math.nan:.1%}"))
    (clean, attacked), (robust_clean, robust) = told
    st.markdown(
        f"### Trained on clean images, the lab's convolutional net classes {clean} right, and **{attacked}** under "
        f"attack; trained on attacked ones, {robust_clean} and **{robust}**."
    )
    st.markdown(
        f"{TASKS[plan.task]}, {scaled(eps, 'linf')}, the strongest attack on the cards. Adversarial training attacks "
        "the net anew in every batch and lets it learn from that. Here you can watch it."
    )
    recorded, epochs = _recorded(plan.task)
    st.markdown(f"**Recorded with the settings that this view begins with.** {_told(recorded, epochs)}")
    _chart(epochs, recorded, "", "chart")


@functools.cache
def _recorded(task: str) -> tuple[Plan, tuple[Epoch, ...]]:
    """A training with the settings that the view begins with, as `scripts/build_training.py` ran it."""
    told = json.loads((ASSETS / "overview" / "training.json").read_text(encoding="utf-8"))[task]
    params = tuple((name, value) for name, value in told["plan"].pop("params"))
    return Plan(params=params, **told["plan"]), tuple(Epoch(**epoch) for epoch in told["epochs"])


def _told(plan: Plan, epochs: tuple[Epoch, ...]) -> str:
    last, seconds = epochs[-1].validation, epochs[-1].elapsed
    return (
        f"{PRESETS[plan.way].name}, {NETS[plan.net].lower()} net, {plan.images:,} images, {plan.epochs} epochs in "
        f"{seconds:.0f} s on one CPU core: **{last['clean']:.0%}** of held-out images right, **{last['fgsm']:.0%}** "
        f"under FGSM and **{last['robust']:.0%}** under PGD. Press Train for your own."
    )


def _course(plan: Plan) -> TrainingRun:
    """What the session keeps of a training."""
    kept = cast("dict[Hashable, TrainingRun]", st.session_state.setdefault("_courses", {}))
    if plan.key not in kept:
        kept[plan.key] = TrainingRun(plan)
        while len(kept) > COURSES:
            del kept[next(iter(kept))]
    return kept[plan.key]


def _trained(plan: Plan) -> Trained | None:
    """The training: finished, or as far as it came when it was stopped; None while it is at work."""
    course = _course(plan)

    def work(job: Job) -> Trained:
        def watch(so_far: Trained, share: float, message: str) -> bool:
            job.partial, job.share, job.message = so_far, share, message
            return job.cancelled()

        job.message = "loading the images"
        return course.run(watch)

    return outcome(SLOT, plan.key, f"Training: {NETS[plan.net].lower()}, {PRESETS[plan.way].name}", work, _live, LANE)


def _live(so_far: Trained) -> None:
    """The chart while it grows."""
    _chart(so_far.epochs, so_far.plan, "The first epoch is at work", "chart_live")
    if 2 * len(so_far.epochs) > so_far.plan.epochs:  # before, a net may just not be robust yet
        _warn(so_far)


def _chart(epochs: tuple[Epoch, ...], plan: Plan, waiting: str, key: str) -> None:
    size = scaled(plan.eps, "linf")
    show_chart(
        figures.progress(epochs, plan.epochs, waiting=waiting),
        PREFIX + key,
        f"{MEASURED} held-out images after every epoch: clean, under FGSM (one step of {size}) and under PGD "
        f"({STEPS} steps within {size}). Where FGSM's line stays high and PGD's falls, the net stands only the "
        "attack that it was trained against.",
    )


def _show(found: Trained) -> None:
    """The verdict, the chart, and what was trained on."""
    plan = found.plan
    if not found.epochs:
        st.markdown("### Stopped before the first epoch was done.")
        _chart((), plan, "No epoch is done", "chart")
        return
    done, kept = found.epochs[-1], found.kept
    count = f"{len(found.epochs)} epoch{'s' if len(found.epochs) > 1 else ''}"
    so_far = f"After {count}" if found.finished else f"Stopped after epoch {done.number} of {done.of}:"
    v = kept.validation
    st.markdown(
        f"### {so_far} the net classes **{v['clean']:.0%}** of held-out images right, **{v['fgsm']:.0%}** under FGSM "
        f"and **{v['robust']:.0%}** under PGD."
    )
    _warn(found)
    _chart(found.epochs, plan, "", "chart")
    pace = done.elapsed / len(found.epochs)
    st.caption(
        f"{PRESETS[plan.way].name}, {scaled(plan.eps, 'linf')}. Trained on {found.text}. {pace:.1f} s of training an "
        "epoch. The same settings and seed give the same net on this machine, stopped in between or not."
    )


def _warn(found: Trained) -> None:
    """Says that catastrophic overfitting has happened, and what it is."""
    if not found.overfitted:
        return
    last, taken_back = found.epochs[-1], ""
    if last.note:
        taken_back = " The rule noticed it and ended the training"
        taken_back += "." if found.kept is last else f"; the net is that of epoch {found.kept.number}."
    st.warning(
        f"**Catastrophic overfitting.** After epoch {last.number} the net classes {last.validation['fgsm']:.0%} right "
        f"under FGSM, and {last.validation['robust']:.0%} under PGD. It has not become robust. It has learned to bend "
        "its loss so that a single step leads astray; many small steps still find the images that fool it. Measured by "
        "FGSM alone, this training would look like a success." + taken_back,
        icon=":material/warning:",
    )


def _save(found: Trained, net: nn.Module) -> None:
    """Keeps the net among the session's own models, and offers it as files."""
    plan, title = found.plan, _title(found.plan)
    name_place, button_place = st.columns([4, 1], vertical_alignment="bottom")
    typed = name_place.text_input("Name of the net", title, max_chars=80, key=f"{PREFIX}name")
    name = re.sub(r"[^\w .,/()+-]", "", typed).strip() or title
    asked: tuple[Hashable, str] = (found.key, name)
    if button_place.button("Save", key=f"{PREFIX}save", width="stretch", icon=":material/save:"):
        st.session_state["_saving"] = asked
    if st.session_state.get("_saving") != asked:
        st.caption(
            "A saved net can be chosen on every page, by you alone, as long as this browser tab is open. Saving "
            "measures it first, by a stronger attack than the chart's: PGD with 50 steps from two starts."
        )
        return
    saved = cast("dict[Hashable, str]", st.session_state.setdefault("_saved", {}))
    if saved.get(asked) not in trained.mine():

        def work(job: Job) -> dict[str, Any]:
            job.message = f"PGD with 50 steps from two starts on {MEASURED} images"
            return card(found, net, name, f"{NETS[plan.net]}. {PRESETS[plan.way].about}")

        told = outcome("card", asked, "Measuring the net for its card", work, lane=LANE)
        if told is None:
            return
        saved[asked] = trained.keep(told, net)
    _saved(saved[asked], net)


def _title(plan: Plan) -> str:
    return f"{plan.net}, {PRESETS[plan.way].name}, {scaled(plan.eps, 'linf')}"


def _saved(key: str, net: nn.Module) -> None:
    """What a saved net is worth, where to go with it, and its files."""
    about = find_model(key).card()
    robust = about.robust[0]
    st.success(
        f"Saved as **{about.name}**: {about.accuracy:.1%} right {about.accuracy_note}, {robust.accuracy:.1%} of "
        f"{robust.n} under PGD ({scaled(robust.eps, 'linf')}, 50 steps, 2 starts), {about.parameters:,} parameters. "
        "Every page now offers it to you."
    )
    with st.container(horizontal=True, gap="small"):
        link_to("pages/attack.py", "Attack it", {"model": model_label(about)}, ":material/bolt:")
        query = {"robustness_task": TASKS[about.task], f"robustness_models_{about.task}": about.name}
        link_to("pages/robustness.py", "Measure its robustness", query, ":material/shield:")
    folder = Folder()
    file = folder.path / "net"
    save_weights(net, file, about={"architecture": about.details["architecture"]})
    name = name_elsewhere(about.key)
    offer_files(
        name.removesuffix(".safetensors"),
        f"{PREFIX}files",
        (
            Offer("Weights (.safetensors)", "safetensors", "application/octet-stream", file.read_bytes()),
            Offer("Card (.json)", "json", "application/json", json.dumps(about.details, indent=2, ensure_ascii=False)),
        ),
    )
    st.caption(f"With both files in one folder: `lab.load_model('{name}')`, and `--model {name}` on the command line.")


@dataclass(frozen=True)
class Side:
    """One of two nets under the same attack.

    Attributes:
        name: of the net.
        clean: what it sees in the clean image.
        attacked: what it sees in the attacked one.
        x: the attacked image [C,H,W].
        delta: its change [C,H,W].
        mean: the mean change over several random starts [C,H,W].
        filters: of its first layer, as a picture.
    """

    name: str
    clean: str
    attacked: str
    x: Tensor
    delta: Tensor
    mean: Tensor
    filters: Tensor


def _comparison(plan: Plan, trained: TrainingRun | None) -> None:
    """The perturbations, images and first-layer filters of a standard and of a robust net, side by side."""
    st.divider()
    st.markdown("#### What an attack has to do: a standard and a robust net")
    key, net, size = of_task(plan.task).key, None if trained is None else trained.net, scaled(plan.eps, "linf")
    images = load_data(key)
    index = int(
        st.number_input(
            f"Image number, 0 to {len(images) - 1:,}",
            0,
            len(images) - 1,
            0,
            key=f"{PREFIX}{key}_image",
            bind="query-params",
            width=260,
        )
    )
    x, y = images.x[index : index + 1], images.y[index : index + 1]

    def work(job: Job) -> tuple[Side, ...]:
        standard, robust = (cache.model(f"{plan.task}/{name}") for name in ("cnn", "cnn_pgd_at"))
        other = (robust.card.name, robust) if net is None else ("The net trained here", net)
        return tuple(_side(name, each, x, y, plan) for name, each in ((standard.card.name, standard), other))

    epochs = len(trained.epochs) if trained and net else 0
    asked = (plan.key if net else plan.task, epochs, index, plan.eps, plan.seed)
    sides = outcome("nets", asked, "Attacking both nets", work)
    if sides is None:
        return
    columns = [[Tile("Clean image", x[0], f"Labelled {CLASSES[plan.task][int(y)]}")]]
    for side, kind in zip(sides, ("Standard", "Trained here" if net else "Robust"), strict=True):
        columns.append(
            [
                Tile(f"{kind}: attacked", side.x, f"Seen as {side.attacked}; clean as {side.clean}"),
                Tile(f"{kind}: the change", figures.signed(side.delta, plan.eps), "One attack"),
                Tile(f"{kind}: mean change", figures.signed(side.mean, plan.eps), f"Over {STARTS} random starts"),
            ]
        )
    show_tiles(columns)
    darker = [f"{_darkened(side.mean, x[0], plan.eps):.0%} ({side.name})" for side in sides]
    st.markdown(
        f"On average over the starts, the attack darkens the object's own bright pixels by **{darker[0]}** and "
        f"**{darker[1]}** of what it may."
    )
    st.caption(
        f"The same attack on both: PGD, {LOOK} steps within {size}. Blue raises a pixel, red lowers it, white leaves "
        f"it; full colour is ±{size}. Both attacks darken the stroke and brighten what surrounds it; against a robust "
        "net the change looks more like the object (Tsipras et al. 2019), and more of the stroke goes. On digits the "
        "difference is small: a robust net here is mostly a threshold on single pixels, as its filters show."
    )
    st.markdown("**First-layer filters**")
    with st.container(horizontal=True, gap="large"):
        for side in sides:
            with st.container(width=280):
                show_image(side.filters, f"First-layer filters of {side.name}")
                st.caption(side.name)
    st.caption(
        "Each small square is what one unit of the first layer looks for: blue weights add, red ones subtract; the "
        "strongest first, one scale a net. A net that is robust to large changes of digits keeps a few strong filters "
        "that look at single pixels and work as thresholds, and lets the others fade (Madry et al. 2018, appendix C)."
    )


def _side(name: str, net: nn.Module, x: Tensor, y: Tensor, plan: Plan) -> Side:
    found = attacks.attack("pgd", net, x, y, eps=plan.eps, steps=LOOK, seed=plan.seed)
    clean, attacked = (
        f"{CLASSES[plan.task][int(p.argmax())]}, {p.max():.0%}"
        for p in logits_of(net, torch.cat([x, found.x])).softmax(1)
    )
    device, rng = devices.of(net, x), torch.Generator().manual_seed(plan.seed)
    many = x.expand(STARTS, -1, -1, -1).to(device), y.expand(STARTS).to(device)
    z = perturb(net, *many, rng, eps=plan.eps, alpha=plan.eps / 10, steps=LOOK)
    return Side(name, clean, attacked, found.x[0], (found.x - x)[0], z.mean(0).cpu() - x[0], figures.filters(net))


def _darkened(delta: Tensor, x: Tensor, eps: float) -> float:
    """The mean change [C,H,W] of an image's bright pixels as a share of -eps."""
    return float(-delta[x > 0.5].mean() / eps)


def _lesson() -> None:
    """What is trained, and what training on single steps is worth, measured on the official test images."""
    with st.expander("How it works, and what one step is worth"):
        st.latex(r"\min_\theta\ \mathbb{E}_{(x,y)}\ \max_{\lVert\delta\rVert_\infty\le\epsilon} J(\theta, x+\delta, y)")
        st.markdown(
            "The weights descend the loss on the worst image that an attack finds within epsilon (Madry et al. 2018). "
            "The rules differ in how they look for it. PGD takes many steps and is slow; others try to do with one. "
            "Three trainings on MNIST's official training images, errors on its 10,000 official test images:"
        )
        st.dataframe([dict(zip(COLUMNS, row, strict=True)) for row in MEASUREMENTS], hide_index=True, width="stretch")
        st.markdown(
            "**The masking lesson.** The fully connected net was trained half on FGSM's images, as Goodfellow et al. "
            "(2015) did. FGSM then makes 14.6% errors, and PGD with 40 steps within the same size still makes 99.9%. "
            "The training masked the gradient that FGSM uses; it did not remove the images that fool the net."
        )
        st.caption("`LAB_DATA=FOLDER python -m benchmarks.training` measures it again.")
