"""Forms drawn from the catalogue: one widget for each parameter, in the URL under the parameter's own name."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from lab.params import Param, Value

PIXEL_STEPS = tuple(
    [n / 4 for n in range(17)]
    + [n / 2 for n in range(9, 17)]
    + [*range(9, 17), *range(18, 33, 2), *range(36, 65, 4), 76.5, 89, 102, 115, 128, 153, 178, 204, 229, 255]
)
"""The values of an epsilon slider in 255ths: fine where photographs are fooled, coarse where digits are."""
LENGTHS = (
    0,
    0.05,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1,
    1.25,
    1.5,
    1.75,
    2,
    2.5,
    3,
    3.5,
    4,
    5,
    6,
    7,
    8,
    10,
    12,
    15,
    20,
    25,
    30,
    40,
    50,
    75,
    100,
)
"""The values of an epsilon slider for Euclidean lengths."""


def pixel_label(n: float) -> str:
    """A value in 255ths, as it stands in the form and in links."""
    return f"{n:g}/255"


def form(params: tuple[Param, ...], defaults: Mapping[str, Value]) -> dict[str, Value]:
    """Draws the parameters and returns their values.

    Args:
        params: from the catalogue.
        defaults: values that suit the data better than the catalogue's, by name; "eps" and "alpha" in pixel units,
            "eps_l2" for a Euclidean epsilon.
    """
    values: dict[str, Value] = {}
    for p in sorted((p for p in params if not p.advanced), key=lambda p: not p.choices):  # ranges depend on choices
        values[p.name] = _widget(p, values, defaults)
    if any(p.advanced for p in params):
        with st.expander("More parameters"):
            for p in (p for p in params if p.advanced):
                values[p.name] = _widget(p, values, defaults)
    return {p.name: values[p.name] for p in params}


def _widget(p: Param, values: Mapping[str, Value], defaults: Mapping[str, Value]) -> Value:
    label = LABELS.get(p.name, p.name.replace("_", " ").capitalize())
    if p.choices:
        return st.segmented_control(
            label,
            p.choices,
            default=str(p.default),
            required=True,
            key=p.name,
            help=p.help,
            format_func=lambda c: CHOICES.get(c, c),
            bind="query-params",
            width="stretch",
        )
    if p.kind is bool:
        return st.toggle(label, bool(p.default), key=p.name, help=p.help, bind="query-params")
    low, high = p.range(values) or (None, None)
    if p.pixels:
        return _size(p, label, values.get("norm") == "l2", defaults)
    if p.kind is int:
        top = min(int(high or 100), 100)
        default = int(defaults.get(p.name, p.default) or 1)
        return st.slider(label, int(low or 0), top, default, key=p.name, help=p.help, bind="query-params")
    return st.number_input(
        label,
        None if low is None else float(low),
        None if high is None else float(high),
        None if p.default is None else float(p.default),
        step=0.1,
        key=p.name,
        help=p.help,
        placeholder="automatic",
        bind="query-params",
    )


def _size(p: Param, label: str, euclidean: bool, defaults: Mapping[str, Value]) -> Value:
    """A size on the pixel scale: a slider over well-chosen values, "automatic" in front where that is allowed."""
    name = f"{p.name}_l2" if euclidean else p.name
    steps: tuple[float, ...] = LENGTHS if euclidean else PIXEL_STEPS
    chosen = defaults.get(name, None if p.optional else 1.0 if euclidean else float(p.default or 0) * 255)
    options: list[float | None] = [*([None] if p.optional else []), *steps]

    def show(v: float | None) -> str:
        return "automatic" if v is None else f"{v:g}" if euclidean else pixel_label(v)

    value = st.select_slider(label, options, chosen, format_func=show, key=name, help=p.help, bind="query-params")
    return value if value is None or euclidean else float(value) / 255


LABELS = {
    "eps": "Epsilon: size allowed",
    "alpha": "Step size",
    "steps": "Iterations",
    "momentum": "Momentum",
    "norm": "Norm",
    "random_start": "Random start",
}
CHOICES = {"linf": "L∞ (per pixel)", "l2": "L2 (Euclidean)", "l1": "L1"}
