"""What a person picks in several steps: a model of any data set, a picture, an attack with its parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import streamlit as st
from PIL import Image
from torch import Tensor

from lab import attacks
from lab.attacks.spec import Spec
from lab.data import load_data
from lab.data.catalog import CATALOG as DATASETS
from lab.data.catalog import of_task
from lab.data.photographs import photographs
from lab.data.windows import MIDDLE, centred, window
from lab.images import decode
from lab.models.cards import Card
from lab.models.catalog import find_model, is_here
from lab.params import Value
from lab.types import Access, ImageError, LabError
from lab.ui.parts.describe import describe_attack, short_citation
from lab.ui.parts.forms import form, restart
from lab.ui.parts.gallery import draw_on_canvas, of_dataset, of_photographs, show_gallery
from lab.ui.parts.scenario import ANY_CLASS, Method, Subject
from lab.ui.shell import trained
from lab.ui.shell.ask import Ask
from lab.ui.shell.say import say
from lab.ui.shell.words import attack_label, model_label

DEFAULT_MODEL, DEFAULT_PICTURE, DEFAULT_ATTACK = "imagenet/efficientnet_lite0", "otter", "mi_fgsm"
EPS = {
    "linf": {"imagenet": 4.0, "mnist": 76.5, "fashion_mnist": 26.0},
    "l2": {"imagenet": 2.0, "mnist": 2.0, "fashion_mnist": 1.0},
    "l1": {"imagenet": 100.0, "mnist": 20.0, "fashion_mnist": 10.0},
}
"""Starting epsilon per norm and task; in L-infinity in 255ths."""
UNPREFIXED = Ask("")
"""Draws what several pages have in common: it stands in links without a page."""
ATTACK_B = Ask("compare_b")
"""Draws the other attack of the Compare page."""
OF_ATTACKS = (UNPREFIXED, ATTACK_B)
"""Draw an attack on a page that has model and picture in common with others."""
BUNDLED, UPLOAD, CAMERA, DRAW = "Bundled", "Upload", "Camera", "Draw"


CLICKED = "_clicked"
"""Where the session keeps the picture that was clicked, for the widget that chooses it: its name and the value."""
LONG = 1.02
"""How much longer than wide a picture must be, or the other way round, for its window to be moved."""


@dataclass(frozen=True)
class Brought:
    """A person's own picture: the file's name, a digest of its bytes, and the picture."""

    name: str
    digest: str
    picture: Image.Image


def start_sizes(task: str) -> dict[str, Value]:
    """The sizes of a perturbation to begin with, by the name of their widget."""
    return {f"eps{'' if norm == 'linf' else '_' + norm}": sizes[task] for norm, sizes in EPS.items()}


def pick_method(ask: Ask, card: Card, default: str, label: str = "Attack", folded: bool = False) -> Method | None:
    """Draws an attack and its parameters; None where they cannot be used, after saying why.

    Args:
        ask: draws the widgets.
        card: of the model, whose data decide the sizes to begin with.
        default: key of the attack to begin with.
        label: what the attack is called.
        folded: whether the parameters wait behind a button, beside those of another attack.
    """
    order = sorted(attacks.CATALOG, key=lambda k: list(Access).index(attacks.CATALOG[k].access))
    key = ask.select(
        "attack",
        label,
        order,
        default,
        format_func=lambda k: attack_label(attacks.CATALOG[k]),
        on_change=_new_attack,
        args=(ask, card.task),
        help="White-box attacks come first, then those that see only scores, then those that see only the label.",
    )
    spec = attacks.CATALOG[key]
    st.session_state[_remembered(ask)] = spec
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        place = st.popover("Parameters", icon=":material/tune:") if folded else None
        paper = spec.papers[0]
        with st.container(width="content"):
            st.markdown(
                f":small[{spec.access.value.split(':')[0].capitalize()} · [{short_citation(paper)}]({paper.url})]"
            )
        explained = st.popover("Formula", type="tertiary")
    with place or nullcontext():
        params = form(spec.params, start_sizes(card.task), ask)
    with explained:
        describe_attack(spec, spec.measured_in(params))
    try:
        spec.build(**params)
    except LabError as e:
        say(e)
        return None
    return Method(spec.key, tuple(params.items()))


def _remembered(ask: Ask) -> str:
    """Where the session keeps the attack that was picked last."""
    return f"_{ask.key('spec')}"


def _new_attack(ask: Ask, task: str) -> None:
    """Parameters that mean the same in both attacks keep their values; the others start at the new one's defaults."""
    old: Spec = st.session_state[_remembered(ask)]
    new = attacks.CATALOG[st.session_state[ask.key("attack")]]
    restart(old.params, new.params, start_sizes(task), ask)


def pick_model() -> Card:
    """Draws the choice of one model of any data set."""
    if CLICKED in st.session_state:  # before the widget is drawn
        name, value = st.session_state.pop(CLICKED)
        st.session_state[name] = value
    key = UNPREFIXED.chosen_model(
        "model",
        "Model",
        trained.keys(),
        DEFAULT_MODEL,
        format_func=lambda k: model_label(find_model(k).card()),
        on_change=_new_model,
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
        for ask in OF_ATTACKS:
            for name, size in start_sizes(task).items():
                st.session_state[ask.key(name)] = size
        st.session_state["target"] = ANY_CLASS


def pick_subject(card: Card) -> Subject:
    """Draws the choice of a picture: with its class where that is known, as a model with this card sees it.

    Raises:
        ImageError: for a picture that cannot be used.
    """
    st.session_state["_task"] = card.task
    sources = [BUNDLED, *([DRAW] if card.task == "mnist" else []), UPLOAD, CAMERA]
    if st.session_state.get("source") not in sources:
        st.session_state.pop("source", None)
    source = UNPREFIXED.segment("source", "Picture", sources, BUNDLED, linked=False, persist_state="session")
    if source != BUNDLED:
        brought = _drawn() if source == DRAW else _brought(source)
        if brought is not None:
            digest, picture = brought
            return _placed(card, "file", digest, None, picture)
        st.caption("Until there is one, the bundled picture is used.")
    if card.task == "imagenet":
        known = photographs()
        chosen = UNPREFIXED.select(
            "image",
            "Photograph",
            list(known),
            DEFAULT_PICTURE,
            format_func=lambda i: known[i].title,
            label_visibility="collapsed",
        )
        if st.button("Look through all", key="look", icon=":material/grid_view:", width="stretch"):
            _choose_photograph(chosen)
        return _placed(card, "photographs", chosen, known[chosen].label, known[chosen].open())
    key = of_task(card.task).key
    data = load_data(key)
    last = len(data) - 1
    index = UNPREFIXED.whole(f"{key}_image", f"Image number, 0 to {last:,}", 0, last, 0, help=DATASETS[key].summary)
    if st.button("Look through all", key="look", icon=":material/grid_view:", width="stretch"):
        _choose_image(key, index, card.classes)
    return Subject(card.key, key, str(index), int(data.y[index]), card, data.x[index : index + 1])


def _placed(card: Card, dataset: str, image: str, label: int | None, picture: Image.Image) -> Subject:
    """Draws where along a long picture the model looks."""
    place, (width, height) = MIDDLE, picture.size
    if min(width, height) and max(width, height) > LONG * min(width, height):
        way = "left to right" if width > height else "top to bottom"
        place = UNPREFIXED.number(
            "window",
            f"Window, {way}",
            0,
            1,
            MIDDLE,
            step=0.05,
            format="%g",
            help="Which part of the picture the model sees.",
        )

    def fit(other: Card) -> Tensor:
        return other.fit(window(picture, place))

    return Subject(card.key, dataset, image, label, card, fit(card), place, fit)


@st.dialog("Photographs", width="large")
def _choose_photograph(chosen: str) -> None:
    """The photographs as thumbnails."""
    clicked = show_gallery(of_photographs(), chosen, "gallery")
    if clicked is not None:
        st.session_state[CLICKED] = "image", clicked
        st.rerun()


@st.dialog("Images by class", width="large")
def _choose_image(dataset: str, index: int, classes: Sequence[str]) -> None:
    """The images of a data set as thumbnails, one class at a time."""
    start = int(load_data(dataset).y[index])
    shown = st.segmented_control(
        "Class",
        range(len(classes)),
        default=start,
        required=True,
        format_func=classes.__getitem__,
        label_visibility="collapsed",
    )
    clicked = show_gallery(of_dataset(dataset, int(shown or 0)), str(index), "gallery")
    if clicked is not None:
        st.session_state[CLICKED] = f"{dataset}_image", int(clicked)
        st.rerun()


def _drawn() -> tuple[str, Image.Image] | None:
    """The person's drawing, as digits lie in their images, and its digest; None where there is none."""
    data = draw_on_canvas("drawing")
    try:
        return (hashlib.sha256(data).hexdigest()[:16], centred(decode(data))) if data else None
    except ImageError as e:
        say(e)
        return None


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
