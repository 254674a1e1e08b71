"""What the view of adversarial training asks, and the examples that set it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from lab.data.training import BUNDLED, SIZES, sources
from lab.params import Value
from lab.training.presets import PRESETS
from lab.training.session import Plan
from lab.ui.parts.forms import form, restart
from lab.ui.parts.pickers import EPS
from lab.ui.shell.ask import Ask
from lab.ui.shell.scales import PIXEL_STEPS

NAME = "training"
ASK = Ask(NAME)
COUNTS = (200, 500, 1000, 2000, 4000, 8000, 20_000)
COUNT = 4000
"""Images to train on, to begin with."""
NETS = {
    "mlp": "Fully connected, 100-100",
    "cnn_small": "Convolutional, small",
    "cnn": "Convolutional",
    "cnn_wide": "Convolutional, wide",
    "maxout": "Maxout",
}
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "Show me catastrophic overfitting": {"rule": "zero"},
    "Fast, as it should be": {"rule": "fast"},
}
"""What the buttons set, beside the defaults."""


def choose(ask: Ask) -> Plan:
    """Draws the settings."""
    task = ask.task(SIZES, _new_task)
    where = sources(task)
    source = BUNDLED
    if len(where) > 1:
        source = ask.segment(
            "source",
            "Training images",
            where,
            BUNDLED,
            format_func=lambda name: f"{name.capitalize()}, {where[name]:,}",
        )
    net = ask.select("net", "Net", list(NETS), "cnn", format_func=NETS.__getitem__)
    key = ask.select(
        "rule", "Rule", list(PRESETS), "pgd", format_func=lambda key: PRESETS[key].name, on_change=_new_rule
    )
    preset = PRESETS[key]
    st.markdown(f":small[{preset.summary} [{preset.source}](https://arxiv.org/abs/{preset.arxiv})]")
    eps = ask.epsilon(
        EPS["linf"][task],
        name="eps",
        label="Epsilon: size of the attack",
        on_change=_new_eps,
        help="What the rule trains against, and what is measured after every epoch.",
    )
    params = form(preset.params, _sizes(key, 255 * eps), ask)
    left, right = st.columns(2)
    with left:
        epochs = ask.whole("epochs", "Epochs", 1, 100, 8)
    with right:
        seed = ask.seed()
    counts = sorted({n for n in (*COUNTS, where[source]) if n <= where[source]})
    images = ask.slide(
        f"images_{task}_{source}",
        "Images",
        counts,
        COUNT,
        format_func=lambda n: f"{n:,}",
        help="How many to train on: more take longer and make a better net.",
    )
    lr = ask.number("lr", "Learning rate", 0.0001, 0.1, 0.005, step=0.0005, format="%g")
    return Plan(task, source, net, key, tuple(params.items()), eps, epochs, int(images), lr, seed)


def _sizes(preset: str, eps: float) -> dict[str, Value]:
    """The step size that suits an epsilon, in 255ths."""
    return {"alpha": float(min(PIXEL_STEPS, key=lambda n: abs(n - eps * PRESETS[preset].step)))}


def _chosen() -> tuple[str, float]:
    """The rule and the epsilon, as they are set now."""
    return str(st.session_state[ASK.key("rule")]), float(st.session_state[ASK.key("eps")])


def _new_task() -> None:
    st.session_state[ASK.key("eps")] = EPS["linf"][str(st.session_state[ASK.key("task")])]
    _new_eps()


def _new_eps() -> None:
    if ASK.key("alpha") in st.session_state:
        st.session_state[ASK.key("alpha")] = _sizes(*_chosen())["alpha"]


def _new_rule() -> None:
    preset, eps = _chosen()
    restart((), PRESETS[preset].params, _sizes(preset, eps), ASK)


def take_example(name: str) -> None:
    """Sets the widgets to an example.

    At 63.75/255, for 12 epochs: so the net that sees FGSM's images alone becomes more robust at first, and then less.
    """
    values = {"task": "mnist", "source": BUNDLED, "net": "cnn", "eps": 63.75, "epochs": 12, "lr": 0.005, "seed": 0}
    values |= {f"images_mnist_{BUNDLED}": COUNT, **EXAMPLES[name]}
    preset = str(values["rule"])
    restart((), PRESETS[preset].params, _sizes(preset, float(str(values["eps"]))), ASK)
    for widget, value in values.items():
        st.session_state[ASK.key(widget)] = value
