"""The scenario: model, picture, attack, target and seed, chosen in the sidebar, kept in the URL and across pages."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass

import streamlit as st
from PIL import Image
from torch import Tensor

from lab import attacks, models
from lab.attacks.catalog import Spec
from lab.data import load_data
from lab.data.catalog import CATALOG as DATASETS
from lab.data.photographs import photographs
from lab.data.uploads import decode
from lab.models.cards import Card
from lab.models.catalog import find as find_model
from lab.models.catalog import is_here
from lab.params import Value, number
from lab.report import Request
from lab.types import ImageError, LabError
from lab.ui.forms import form, pixel_label
from lab.ui.show import say

DEFAULT_MODEL, DEFAULT_PICTURE, DEFAULT_ATTACK = "imagenet/efficientnet_lite0", "coffee", "mi_fgsm"
DEFAULT_EPS = {"imagenet": 4.0, "mnist": 76.5, "fashion_mnist": 26.0}
"""Starting epsilon per task, in 255ths; Euclidean ones in EPS_L2."""
EPS_L2 = {"imagenet": 2.0, "mnist": 2.0, "fashion_mnist": 1.0}
BUNDLED, UPLOAD, CAMERA = "Bundled", "Upload", "Camera"
ANY_CLASS = "any other class"
TASKS = {"imagenet": "ImageNet", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


@dataclass(frozen=True)
class Scenario:
    """What the sidebar says: the request, the model's card, the picture's class where known, and what is seen."""

    request: Request
    card: Card
    spec: Spec
    label: int | None
    x: Tensor

    @property
    def key(self) -> Hashable:
        """What a result depends on."""
        r = self.request
        return (r.model, r.dataset, r.image, r.attack, tuple(r.params.items()), r.target, r.seed)


def sidebar() -> Scenario | None:
    """Draws the sidebar and returns its scenario; None where it cannot be used, after saying why."""
    st.session_state.setdefault("_asked", st.query_params.to_dict())  # before the widgets tidy the link
    with st.sidebar:
        try:
            card = _model()
            dataset, image, label, x = _picture(card)
            spec = _attack()
            params = form(spec.params, _defaults(card))
            target = _target(card)
            seed = st.number_input(
                "Seed",
                0,
                2**31 - 1,
                0,
                key="seed",
                bind="query-params",
                help="The same seed gives the same random numbers, and so the same result.",
            )
            _check(spec, params)
        except LabError as e:
            say(e)
            return None
    _told_of_link(card, spec, dataset, image, params, target, int(seed))
    request = Request(card.key, dataset, image, spec.key, params, target, int(seed))
    return Scenario(request, card, spec, label, x)


def _told_of_link(
    card: Card, spec: Spec, dataset: str, image: str, params: dict[str, Value], target: int | None, seed: int
) -> None:
    """Says once what a link asked for that the lab does not have; the widgets themselves fall back in silence."""
    asked: dict[str, str] = st.session_state["_asked"]
    if not asked:
        return
    st.session_state["_asked"] = {}
    taken = {
        "model": model_label(card),
        "attack": spec.name,
        "target": ANY_CLASS if target is None else card.classes[target],
        "seed": str(seed),
    }
    if dataset == "photographs":
        taken["image"] = photographs()[image].title
    for name, value in params.items():
        label = str(value)
        if name in ("eps", "alpha") and isinstance(value, float) and params.get("norm", "linf") == "linf":
            label = pixel_label(round(value * 255, 2))
        taken[name] = label
    refused = [
        f"{name} “{value[:40]}”"
        for name, value in asked.items()
        if name in taken and name != "norm" and value and not _same(value, taken[name])
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


def _check(spec: Spec, params: dict[str, Value]) -> None:
    spec.build(**params)


def _defaults(card: Card) -> dict[str, Value]:
    return {"eps": DEFAULT_EPS[card.task], "eps_l2": EPS_L2[card.task]}


def _model() -> Card:
    key = st.selectbox(
        "Model",
        list(models.CATALOG),
        key="model",
        format_func=lambda k: model_label(find_model(k).card()),
        on_change=_new_model,
        bind="query-params",
        index=list(models.CATALOG).index(DEFAULT_MODEL),
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
        st.session_state["eps"] = DEFAULT_EPS[task]
        st.session_state["eps_l2"] = EPS_L2[task]
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
    key = next(d.key for d in DATASETS.values() if d.task == card.task)
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
    if source == UPLOAD:
        file = st.file_uploader(
            "A picture",
            ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"],
            key="upload",
            label_visibility="collapsed",
        )
    else:
        file = st.camera_input("A photograph", key="camera", label_visibility="collapsed")
    kept = f"_picture_{source}"
    if file is not None:
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()[:16]
        try:
            if st.session_state.get(kept, ("", None))[0] != digest:
                st.session_state[kept] = (digest, decode(data))
        except ImageError as e:
            say(e)
    held: tuple[str, Image.Image] | None = st.session_state.get(kept)
    return held


def _attack() -> Spec:
    key = st.selectbox(
        "Attack",
        list(attacks.CATALOG),
        key="attack",
        format_func=lambda k: attacks.CATALOG[k].name,
        index=list(attacks.CATALOG).index(DEFAULT_ATTACK),
        bind="query-params",
    )
    spec = attacks.CATALOG[key]
    return spec


def _target(card: Card) -> int | None:
    names = [ANY_CLASS, *card.classes]
    chosen = st.selectbox(
        "Goal: the model should see",
        names,
        key="target",
        bind="query-params",
        help="Any class other than the one it sees now, or one that you choose.",
    )
    return None if chosen == ANY_CLASS else names.index(chosen) - 1
