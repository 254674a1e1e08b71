"""Forms drawn from the catalogue: one widget for each parameter, in links under the parameter's own name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import streamlit as st

from lab.params import Param, Value
from lab.ui.shell.ask import Ask


def form(params: tuple[Param, ...], defaults: Mapping[str, Value], ask: Ask) -> dict[str, Value]:
    """Draws the parameters and returns their values.

    Args:
        params: from the catalogue.
        defaults: values that suit the data better than the catalogue's, by name of the widget: in 255ths, or for a norm
            other than L-infinity, with its name at the end ("eps_l2"), as a length.
        ask: draws the widgets.
    """
    values: dict[str, Value] = {}
    for p in sorted((p for p in params if not p.advanced), key=lambda p: not p.choices):  # ranges depend on choices
        values[p.name] = _widget(p, values, defaults, ask)
    if any(p.advanced for p in params):
        with st.expander("More parameters"):
            for p in (p for p in params if p.advanced):
                values[p.name] = _widget(p, values, defaults, ask)
    return {p.name: values[p.name] for p in params}


def restart(old: tuple[Param, ...], new: tuple[Param, ...], defaults: Mapping[str, Value], ask: Ask) -> None:
    """Sets the widgets of another method to its defaults, except where they mean what they meant in the old one.

    Args:
        old: the parameters of the method before.
        new: those of the method now.
        defaults: as for `form`.
        ask: draws the widgets.
    """
    before = {p.name: p for p in old}
    for p in new:
        if p.name not in before or not _alike(p, before[p.name]):
            st.session_state[ask.key(p.name)] = _start(p, {}, defaults)


def _alike(p: Param, q: Param) -> bool:
    if p.pixels and q.pixels:
        return p.optional == q.optional
    return (p.kind, p.default, p.choices, p.bounds, p.optional) == (q.kind, q.default, q.choices, q.bounds, q.optional)


def _name(p: Param, values: Mapping[str, Value]) -> str:
    """The name of a widget: a size has another one in each norm, because its scale is another."""
    norm = str(values.get("norm", "linf"))
    return p.name if not p.pixels or norm == "linf" else f"{p.name}_{norm}"


def _start(p: Param, values: Mapping[str, Value], defaults: Mapping[str, Value]) -> Value:
    """What a widget shows at first."""
    name = _name(p, values)
    if name in defaults:
        return defaults[name]
    if p.default is None or not p.pixels:
        return p.default
    return _counted(p, p.default, values) if name == p.name else 1.0


def _counted(p: Param, value: Value, values: Mapping[str, Value]) -> float:
    """A size as its widget counts it: in 255ths, or as it is in the other norms."""
    size = float(value or 0)
    return round(size * 255, 4) if _name(p, values) == p.name else size


def _widget(p: Param, values: Mapping[str, Value], defaults: Mapping[str, Value], ask: Ask) -> Value:
    label = LABELS.get(p.name, p.name.replace("_", " ").capitalize())
    if p.unit and not p.pixels and p.unit != label.lower():
        label = f"{label}, {p.unit}"
    name, start = _name(p, values), _start(p, values, defaults)
    if p.choices:
        explained = "; ".join([p.help.rstrip("."), *(EXPLAINED[c] for c in p.choices if c in EXPLAINED)])
        return ask.segment(
            name, label, p.choices, str(start), help=f"{explained}.", format_func=lambda c: CHOICES.get(c, c)
        )
    if p.kind is bool:
        return ask.toggle(name, label, bool(start), help=p.help)
    low, high = p.range(values) or (None, None)
    if p.pixels:
        scale, norm = (255, "linf") if name == p.name else (1, str(values["norm"]))
        return ask.size(
            name,
            label,
            None if start is None else float(start),
            norm=norm,
            low=scale * (low or 0),
            high=math.inf if high is None else scale * high,
            optional=p.optional,
            help=p.help,
        )
    if p.kind is int and not p.optional and low is not None and high is not None:
        return ask.count(name, label, int(low), int(high), int(start or low), help=p.help)
    value = ask.number_or_none(
        name,
        label,
        low,
        high,
        None if start is None else float(start),
        step=1.0 if p.kind is int else _fineness(p),
        format="%g",
        help=p.help,
        placeholder="automatic",
    )
    return value if value is None or p.kind is float else int(value)


def _fineness(p: Param) -> float:
    """The step of a number's buttons: a tenth of the default's power of ten."""
    size = abs(float(p.default or 1))
    return float(10.0 ** (math.floor(math.log10(size)) - 1))


LABELS = {
    "ramp": "Epsilon grows over, share",
    "mix": "Weight of clean images",
    "eps": "Epsilon: size allowed",
    "alpha": "Step size",
    "steps": "Iterations",
    "lr": "Learning rate",
    "doubling": "Doubling rounds",
    "sample": "Sample after those",
    "net": "Its net",
}
CHOICES = {
    "linf": "L∞",
    "l2": "L2",
    "l1": "L1",
    "l0": "L0",
    "mlp": "200-200",
    "softmax": "Softmax",
    "cnn": "CNN",
    "sgd": "SGD",
    "adam": "Adam",
}
EXPLAINED = {
    "linf": "L∞: the largest change of any value",
    "l2": "L2: the Euclidean length",
    "l1": "L1: the sum of all changes",
    "l0": "L0: how many values change",
}
"""Choices that a person may not know, for the help."""
