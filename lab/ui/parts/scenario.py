"""The scenario: model, picture, attack, target and seed, chosen in the sidebar, kept in the URL and across pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from lab import attacks
from lab.attacks.spec import Spec
from lab.data import load_data
from lab.data.catalog import CATALOG as DATASETS
from lab.data.catalog import TASKS, of_task
from lab.data.photographs import photographs
from lab.experiments.attack.report import Request
from lab.images import Images, decode
from lab.models.cards import Card
from lab.models.catalog import find_model, is_here
from lab.params import Value, number
from lab.types import Access, ImageError, LabError
from lab.ui.parts.describe import about_attack, short_citation
from lab.ui.parts.forms import form, labels, restart
from lab.ui.shell import trained
from lab.ui.shell.say import say

DEFAULT_MODEL, DEFAULT_PICTURE, DEFAULT_ATTACK = "imagenet/efficientnet_lite0", "coffee", "mi_fgsm"
EPS = {
    "linf": {"imagenet": 4.0, "mnist": 76.5, "fashion_mnist": 26.0},
    "l2": {"imagenet": 2.0, "mnist": 2.0, "fashion_mnist": 1.0},
    "l1": {"imagenet": 100.0, "mnist": 20.0, "fashion_mnist": 10.0},
}
"""Starting epsilon per norm and task; in L-infinity in 255ths."""
PREFIXES = ("", "a_", "b_", "r_")
"""Of the widgets of an attack on the pages that share model and picture: Attack, Compare (two), Representations."""
SEES = {Access.GRADIENTS: "", Access.SCORES: " (scores only)", Access.LABELS: " (label only)"}
BUNDLED, UPLOAD, CAMERA = "Bundled", "Upload", "Camera"
ANY_CLASS = "any other class"


@dataclass(frozen=True)
class Brought:
    """A person's own picture: the file's name, a digest of its bytes, and the picture."""

    name: str
    digest: str
    picture: Image.Image


@dataclass(frozen=True)
class Subject:
    """What is attacked: a model, and a picture [1,C,H,W] as the model sees it, with its class where known.

    Two subjects are equal where model, data set and image are; card and pixels follow from these.
    """

    model: str
    dataset: str
    image: str
    label: int | None
    card: Card = field(compare=False)
    x: Tensor = field(compare=False)


@dataclass(frozen=True)
class Aim:
    """What is to be reached: a class, None for any other; and the seed of the random numbers."""

    target: int | None
    seed: int


@dataclass(frozen=True)
class Method:
    """An attack by its key, with the values of its parameters."""

    attack: str
    values: tuple[tuple[str, Value], ...]

    @property
    def spec(self) -> Spec:
        """The attack's entry in the catalogue."""
        return attacks.CATALOG[self.attack]

    @property
    def params(self) -> dict[str, Value]:
        """The parameters by name."""
        return dict(self.values)


@dataclass(frozen=True)
class Scenario:
    """All that one attack depends on."""

    subject: Subject
    method: Method
    aim: Aim

    @property
    def card(self) -> Card:
        """Of the model that is attacked."""
        return self.subject.card

    @property
    def x(self) -> Tensor:
        """The picture [1,C,H,W]."""
        return self.subject.x

    @property
    def spec(self) -> Spec:
        """The attack's entry in the catalogue."""
        return self.method.spec

    @property
    def request(self) -> Request:
        """What is asked of the lab."""
        about, how, aim = self.subject, self.method, self.aim
        return Request(about.card.key, about.dataset, about.image, how.spec.key, how.params, aim.target, aim.seed)

    @property
    def key(self) -> Hashable:
        """What a result depends on: itself."""
        return self


@dataclass(frozen=True)
class Shared:
    """What all pages that attack have in common, and the place between picture and goal for what they have not.

    `about` and `aim` are None where they cannot be used; the reason is then on the page.
    """

    about: Subject | None
    aim: Aim | None
    place: DeltaGenerator


def draw_shared() -> None:
    """Draws model, picture, goal and seed in the sidebar, before a page takes them with `shared`.

    For app.py: what is drawn there keeps its value and its part of the link when the page changes, which widgets of the
    same name on two pages do not.
    """
    st.session_state["_shared"] = _draw_shared()


def shared() -> Shared:
    """What app.py has drawn in this run; drawn here where the page runs alone."""
    drawn: Shared | None = st.session_state.pop("_shared", None)
    return drawn or _draw_shared()


def _draw_shared() -> Shared:
    with st.sidebar:
        about = _subject()
        place = st.container()
        aim = None if about is None else _aim(about.card)
    return Shared(about, aim, place)


def sidebar() -> Scenario | None:
    """Draws the sidebar of one attack; returns its scenario, or None after saying why it cannot be used."""
    common = shared()
    about, aim = common.about, common.aim
    if about is None or aim is None:
        return None
    with common.place:
        how = pick_method(about.card, DEFAULT_ATTACK)
    if how is None:
        return None
    tell_of_link({**subject_in_link(about), **aim_in_link(about.card, aim), **method_in_link(how)})
    return Scenario(about, how, aim)


def _subject() -> Subject | None:
    """Draws model and picture; None where there is no such picture, after saying why."""
    st.session_state.setdefault("_asked", st.query_params.to_dict())  # before the widgets tidy the link
    try:
        card = _model()
        dataset, image, label, x = _picture(card)
        return Subject(card.key, dataset, image, label, card, x)
    except LabError as e:
        say(e)
        return None


def pick_method(card: Card, default: str, prefix: str = "", folded: bool = False) -> Method | None:
    """Draws an attack and its parameters; None where they cannot be used, after saying why.

    Args:
        card: of the model, whose data decide the sizes to begin with.
        default: key of the attack to begin with.
        prefix: of the widgets' keys, and so of the parameters in links.
        folded: whether the parameters wait behind a button, beside those of another attack; the label tells which.
    """
    order = sorted(attacks.CATALOG, key=lambda k: list(Access).index(attacks.CATALOG[k].access))
    key = st.selectbox(
        f"Attack {prefix[:-1].upper()}" if folded else "Attack",
        order,
        key=f"{prefix}attack",
        format_func=lambda k: attack_label(attacks.CATALOG[k]),
        index=order.index(default),
        on_change=_new_attack,
        args=(prefix, card.task),
        bind="query-params",
        help="White-box attacks come first, then those that see only scores, then those that see only the label.",
    )
    spec = attacks.CATALOG[key]
    st.session_state[f"_{prefix}spec"] = spec
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        place = st.popover("Parameters", icon=":material/tune:") if folded else None
        paper = spec.papers[0]
        with st.container(width="content"):
            st.caption(f"{spec.access.value.split(':')[0].capitalize()} · [{short_citation(paper)}]({paper.url})")
        explained = st.popover("Formula", type="tertiary")
    with place or nullcontext():
        params = form(spec.params, start_sizes(card.task), prefix)
    with explained:
        about_attack(spec, spec.measured_in(params))
    try:
        spec.build(**params)
    except LabError as e:
        say(e)
        return None
    return Method(spec.key, tuple(params.items()))


def _new_attack(prefix: str, task: str) -> None:
    """Parameters that mean the same in both attacks keep their values; the others start at the new one's defaults."""
    old: Spec = st.session_state[f"_{prefix}spec"]
    new = attacks.CATALOG[st.session_state[f"{prefix}attack"]]
    restart(old.params, new.params, start_sizes(task), prefix)


def _aim(card: Card) -> Aim:
    """Draws the goal and the seed."""
    names = [ANY_CLASS, *card.classes]
    chosen = st.selectbox(
        "Goal: the model should see",
        names,
        key="target",
        bind="query-params",
        help="Any class other than the one it sees now, or one that you choose.",
    )
    seed = st.number_input(
        "Seed",
        0,
        2**31 - 1,
        0,
        key="seed",
        bind="query-params",
        help="The same seed gives the same random numbers, and so the same result.",
    )
    return Aim(None if chosen == ANY_CLASS else names.index(chosen) - 1, int(seed))


def subject_in_link(about: Subject) -> dict[str, str]:
    """What a subject is called in links, by parameter."""
    told = {"model": model_label(about.card)}
    if about.dataset == "photographs":
        return told | {"image": photographs()[about.image].title}
    return told if about.dataset == "file" else told | {f"{about.dataset}_image": about.image}


def aim_in_link(card: Card, aim: Aim) -> dict[str, str]:
    """What an aim is called in links, by parameter."""
    return {"target": ANY_CLASS if aim.target is None else card.classes[aim.target], "seed": str(aim.seed)}


def method_in_link(how: Method, prefix: str = "") -> dict[str, str]:
    """What a method is called in links, by parameter."""
    told = {"attack": attack_label(how.spec), **labels(how.spec.params, how.params)}
    return {f"{prefix}{name}": label for name, label in told.items()}


def tell_of_link(taken: Mapping[str, str]) -> None:
    """Says once what a link asked for that the lab does not have; the widgets themselves fall back in silence.

    Args:
        taken: what is used instead, by parameter of the link.
    """
    asked: dict[str, str] = st.session_state["_asked"]
    st.session_state["_asked"] = {}
    refused = [
        f"{name} “{value[:40]}”"
        for name, value in asked.items()
        if name in taken and value and not _same(value, taken[name])
    ]
    if refused:
        st.warning(f"The link asked for what the lab does not have: {', '.join(refused)}. The default is used instead.")


def _same(asked: str, taken: str) -> bool:
    if asked == taken:
        return True
    try:
        return abs(number(asked) - number(taken)) < 1e-6
    except LabError:
        return asked.lower() == taken.lower()


def model_label(card: Card) -> str:
    """How a model is called in the picker and in links."""
    return f"{card.name}, {TASKS[card.task]}"


def attack_label(spec: Spec) -> str:
    """How an attack is called in the picker and in links: with what it sees of the model, unless that is everything."""
    return spec.name + SEES[spec.access]


def start_sizes(task: str) -> dict[str, Value]:
    """The sizes of a perturbation to begin with, by the name of their widget."""
    return {f"eps{'' if norm == 'linf' else '_' + norm}": sizes[task] for norm, sizes in EPS.items()}


def _model() -> Card:
    offered = trained.keys()
    key = st.selectbox(
        "Model",
        offered,
        key="model",
        format_func=lambda k: model_label(find_model(k).card()),
        on_change=_new_model,
        bind="query-params",
        index=offered.index(DEFAULT_MODEL),
        help="The network that is attacked.",
    )
    card = find_model(key).card()
    if not is_here(key):
        st.caption("Its weights are downloaded at first use.")
    return card


def _new_model() -> None:
    """Another data set needs other sizes of perturbation and has other classes."""
    task = str(st.session_state["model"]).split("/")[0]
    if st.session_state.get("_task", task) != task:
        for prefix in PREFIXES:
            for name, size in start_sizes(task).items():
                st.session_state[f"{prefix}{name}"] = size
        st.session_state["target"] = ANY_CLASS


def _picture(card: Card) -> tuple[str, str, int | None, Tensor]:
    """Data set, id, class where known, and the picture as the model sees it."""
    st.session_state["_task"] = card.task
    source = st.segmented_control(
        "Picture",
        [BUNDLED, UPLOAD, CAMERA],
        default=BUNDLED,
        required=True,
        key="source",
        persist_state="session",
        width="stretch",
    )
    if source != BUNDLED:
        brought = _brought(str(source))
        if brought is not None:
            digest, picture = brought
            return "file", digest, None, card.fit(picture)
        st.caption("Until there is one, the bundled picture is used.")
    if card.task == "imagenet":
        known = photographs()
        chosen = st.selectbox(
            "Photograph",
            list(known),
            key="image",
            format_func=lambda i: known[i].title,
            bind="query-params",
            index=list(known).index(DEFAULT_PICTURE),
            label_visibility="collapsed",
        )
        return "photographs", chosen, known[chosen].label, card.fit(known[chosen].open())
    key = of_task(card.task).key
    data = load_data(key)
    index = int(
        st.number_input(
            f"Image number, 0 to {len(data) - 1:,}",
            0,
            len(data) - 1,
            0,
            key=f"{key}_image",
            bind="query-params",
            help=DATASETS[key].summary,
        )
    )
    return key, str(index), int(data.y[index]), data.x[index : index + 1]


def _brought(source: str) -> tuple[str, Image.Image] | None:
    """The person's own picture and its digest; kept for the session, so that it survives a change of page."""
    key, kept = source.lower(), f"_picture_{source}"
    if source == UPLOAD:
        file = st.file_uploader(
            "A picture",
            ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"],
            key=key,
            on_change=_dropped,
            args=(key, kept),
            label_visibility="collapsed",
        )
    else:
        file = st.camera_input(
            "A photograph", key=key, on_change=_dropped, args=(key, kept), label_visibility="collapsed"
        )
    if file is not None:
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()[:16]
        try:
            if kept not in st.session_state or st.session_state[kept].digest != digest:
                st.session_state[kept] = Brought(file.name, digest, decode(data))
        except ImageError as e:
            say(e)
    held: Brought | None = st.session_state.get(kept)
    if held is None:
        return None
    if file is None:  # the page was left and entered again: the widget is empty, the picture is still in use
        name, button = st.columns([3, 2], vertical_alignment="center")
        name.caption(f"In use: {held.name}, {held.picture.width} x {held.picture.height}")
        button.button("Remove", key=f"remove_{key}", on_click=_remove, args=(kept,), width="stretch")
    return held.digest, held.picture


def _dropped(key: str, kept: str) -> None:
    """Called when a file is chosen or taken out of the widget, not when the page is left."""
    if st.session_state[key] is None:
        _remove(kept)


def _remove(kept: str) -> None:
    st.session_state.pop(kept, None)


def pick_task(prefix: str, tasks: Collection[str], on_change: Callable[[], None] | None = None) -> str:
    """Draws the choice of a data set, by its task; MNIST to begin with."""
    return str(
        st.segmented_control(
            "Data set",
            list(tasks),
            default="mnist",
            required=True,
            key=f"{prefix}task",
            bind="query-params",
            format_func=lambda t: TASKS[t],
            on_change=on_change,
            width="stretch",
        )
    )


def pick_models(prefix: str, task: str, start: Collection[str], help: str | None = None) -> tuple[str, ...]:
    """Draws the choice of several models of a task; their keys.

    Args:
        prefix: of the widget's key.
        task: of the models.
        start: names of those chosen to begin with.
        help: what is done with them.
    """
    return tuple(
        st.multiselect(
            "Models",
            trained.keys(task),
            [f"{task}/{name}" for name in start],
            key=f"{prefix}models_{task}",
            bind="query-params",
            format_func=lambda k: find_model(k).card().name + ("" if is_here(k) else " (download)"),
            help=help,
        )
    )


def first_images(keys: Collection[str], count: int | None = None) -> Images:
    """The first images of the data set that these models know, in the size of the largest; all where None."""
    largest = max((find_model(key).card() for key in keys), key=lambda card: card.input_shape[1])
    data = load_data(of_task(largest.task).key, card=largest)
    return data if count is None else data.rows(slice(0, count))
