"""What the Black box page asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import streamlit as st
import torch
from torch import Tensor

from lab.data import load_data
from lab.data.catalog import TASKS, of_task
from lab.experiments.blackbox.oracle import ALLOWED, allowed, check_address
from lab.experiments.blackbox.substitute import PARAMS, Substitute, balanced
from lab.images import Images, decode
from lab.models.catalog import find_model
from lab.params import Value
from lab.store import images_digest
from lab.types import ImageError
from lab.ui.parts.forms import form
from lab.ui.shell import trained
from lab.ui.shell.ask import Ask, model_name
from lab.ui.shell.prose import prose
from lab.ui.shell.words import model_label

NAME = "blackbox"
LOCAL, REMOTE = "A model of the lab", "An endpoint"
SMALL = ("mnist", "fashion_mnist")
"""Tasks whose images are small enough to train a copy in seconds."""
DEFAULT = "mnist/cnn_small"
LONG: Mapping[str, Value] = {"optimiser": "adam", "lr": 0.001, "epochs": 30}
PRESETS: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "The paper's": (DEFAULT, {"optimiser": "sgd", "lr": 0.01, "epochs": 10}),
    "Strong net": ("mnist/cnn", LONG),
    "Defended net": ("mnist/cnn_pgd_at", LONG),
}
"""Oracle and settings of the substitute: of the paper's success, and of two failures that teach."""
PICTURES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"]


@dataclass(frozen=True)
class Setup:
    """What one run of the substitute attack depends on.

    Attributes:
        oracle: key of a model, or the address of an endpoint.
        remote: whether it is an endpoint.
        task: the label space.
        initial: how many of the test images the attacker has at first, or a digest of the person's own.
        own: the person's own first images [N,C,H,W], where `initial` is a digest of them.
        tests: how many test images the copy is judged on.
        budget: labels that may be asked.
        eps: size of the FGSM examples.
        settings: of the substitute.
        seed: of the random numbers.
    """

    oracle: str
    remote: bool
    task: str
    initial: str
    own: Tensor | None = field(compare=False)
    tests: int
    budget: int
    eps: float
    settings: Substitute
    seed: int

    @property
    def is_own(self) -> bool:
        """Whether it depends on what is the person's alone: an endpoint, or images."""
        return self.remote or self.own is not None

    @property
    def name(self) -> str:
        """The oracle's name, for a person."""
        return "the endpoint" if self.remote else model_name(self.oracle)

    @property
    def dataset(self) -> str:
        """Key of the data set that the test images are of."""
        return of_task(self.task).key

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(find_model(f"{self.task}/cnn").card().classes)

    def images(self) -> tuple[Tensor, Images]:
        """The attacker's first images [N,C,H,W], and the test images, which the attacker does not have."""
        data = load_data(self.dataset)
        if self.own is not None:
            return self.own, data.rows(slice(0, self.tests))
        first, rest = balanced(data, int(self.initial), self.seed)
        return first.x, rest.rows(slice(0, self.tests))


def choose(ask: Ask) -> Setup:
    """Draws the settings.

    Raises:
        ParamError: for an address that may not be asked.
        ImageError: for a file that is no picture.
    """
    ask.segment(
        "preset", "Settings to begin with", list(PRESETS), None, linked=False, required=False, on_change=_take_preset
    )
    source = ask.segment("source", "Oracle", [LOCAL, REMOTE], LOCAL, help="The black box: it shows only its labels.")
    oracle, task = _local(ask) if source == LOCAL else _remote(ask)
    own = _own(ask, task)
    initial = "" if own is None else f"{len(own)} own, {images_digest(own)}"
    if own is None:
        initial = str(
            ask.slide(
                "initial",
                "Initial images",
                [20, 50, 100, 150, 200, 300, 500],
                150,
                help="Test images that the attacker has, as many of each class as can be.",
            )
        )
    budget = ask.whole(
        "budget",
        "Budget, labels",
        10,
        100_000,
        9600,
        step=100,
        help="How many labels may be asked for; the copy stops growing there.",
    )
    tests = ask.slide(
        "tests",
        "Test images",
        [100, 200, 300, 500, 1000],
        300,
        help="Other images, on which the copy is judged after each round.",
    )
    eps = ask.epsilon(
        76.5,
        name="eps",
        label="Epsilon of FGSM",
        help="How far each value may move in the examples made on the copy.",
    )
    st.markdown("**The copy**")
    settings = Substitute(**form(PARAMS, {}, ask))  # type: ignore[arg-type]
    seed = ask.seed()
    return Setup(oracle, source == REMOTE, task, initial, own, tests, budget, eps, settings, seed)


def _take_preset() -> None:
    """Called when a preset is chosen: sets the oracle and the copy."""
    ask = Ask(NAME)
    preset = st.session_state[ask.key("preset")]
    if preset is not None:
        oracle, values = PRESETS[preset]
        for name, value in {"source": LOCAL, "oracle": oracle, **values}.items():
            st.session_state[ask.key(name)] = value


def _local(ask: Ask) -> tuple[str, str]:
    """Draws the choice of a model; its key and its task."""
    key = ask.chosen_model(
        "oracle",
        "Model",
        [key for task in SMALL for key in trained.keys(task)],
        DEFAULT,
        format_func=lambda k: model_label(find_model(k).card()),
        help="Any digit or clothes model, the defended ones too. Photographs are too large to train a copy in seconds.",
    )
    return key, key.split("/")[0]


def _remote(ask: Ask) -> tuple[str, str]:
    """Draws the choice of an endpoint; its address and the task of its classes.

    Raises:
        ParamError: for an address that may not be asked.
    """
    url = st.text_input(
        "Address",
        "http://127.0.0.1:8600/label",
        key=ask.key("url"),
        help="It gets each image as a PNG by POST and answers with a label.",
    )
    task = ask.segment("task", "Its classes", SMALL, SMALL[0], linked=False, format_func=TASKS.__getitem__)
    st.caption(prose(NAME, "An endpoint", model=DEFAULT, allowed=", ".join(allowed()) or "none", variable=ALLOWED))
    check_address(url)
    return url, task


def _own(ask: Ask, task: str) -> Tensor | None:
    """Draws the choice of a person's own first images; these, fitted to the data set [N,C,H,W].

    Raises:
        ImageError: for a file that is no picture.
    """
    files = st.file_uploader("Or your own initial images", PICTURES, accept_multiple_files=True, key=ask.key("own"))
    fit, pictures = find_model(f"{task}/cnn").card().fit, []
    for number, file in enumerate(files, 1):
        try:
            pictures.append(fit(decode(file.getvalue())))
        except ImageError as e:
            raise ImageError(f"picture {number} cannot be used: {e}") from e
    return torch.cat(pictures) if pictures else None
