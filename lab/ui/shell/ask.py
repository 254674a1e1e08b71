"""The widgets of a page's form: each is part of the link, under a name that begins with the page's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st

from lab.data.catalog import TASKS
from lab.models.catalog import find_model, is_here
from lab.ui.shell import trained

T = TypeVar("T")
MOST = 2**31 - 1
"""The largest seed."""
NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}


@dataclass(frozen=True)
class Ask:
    """Draws the widgets of one page.

    Attributes:
        page: the page's name; every key begins with it, so that two pages cannot collide. Empty for what several pages
            have in common.
        preset: values that widgets begin with in place of their own, by name.
        locked: names of widgets that a person can see but not change.
    """

    page: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    locked: Collection[str] = ()

    def key(self, name: str) -> str:
        """The key of the page's widget of this name, and its parameter in links."""
        return f"{self.page}_{name}" if self.page else name

    def _draw(self, widget: Callable[..., Any], name: str, *args: Any, linked: bool = True, **options: Any) -> Any:
        key = self.key(name)
        if name in self.preset and key not in st.session_state and key not in st.query_params:
            st.session_state[key] = self.preset[name]
        if linked:
            options["bind"] = "query-params"
        if name in self.locked:
            options["disabled"] = True
        return widget(*args, key=key, **options)

    def select(self, name: str, label: str, options: Sequence[T], start: T, **how: Any) -> T:
        """One of many, from a list."""
        chosen: T = self._draw(st.selectbox, name, label, options, list(options).index(start), **how)
        return chosen

    def segment(self, name: str, label: str, options: Collection[T], start: T, **how: Any) -> T:
        """One of few, side by side."""
        how = {"required": True, "width": "stretch", **how}
        chosen: T = self._draw(st.segmented_control, name, label, list(options), default=start, **how)
        return chosen

    def several(self, name: str, label: str, options: Sequence[T], start: Collection[T], **how: Any) -> tuple[T, ...]:
        """Any number of many."""
        return tuple(self._draw(st.multiselect, name, label, options, list(start), **how))

    def slide(self, name: str, label: str, options: Sequence[T], start: T, **how: Any) -> T:
        """One of many in order, on a slider."""
        chosen: T = self._draw(st.select_slider, name, label, options, start, **how)
        return chosen

    def whole(self, name: str, label: str, low: int, high: int, start: int, **how: Any) -> int:
        """A whole number."""
        return int(self._draw(st.number_input, name, label, low, high, start, **how))

    def number(self, name: str, label: str, low: float, high: float, start: float, **how: Any) -> float:
        """A number."""
        return float(self._draw(st.number_input, name, label, float(low), float(high), float(start), **how))

    def number_or_none(
        self, name: str, label: str, low: float | None, high: float | None, start: float | None, **how: Any
    ) -> float | None:
        """A number, or None where the field is left empty."""
        low, high, start = (None if bound is None else float(bound) for bound in (low, high, start))
        chosen = self._draw(st.number_input, name, label, low, high, start, **how)
        return None if chosen is None else float(chosen)

    def toggle(self, name: str, label: str, start: bool = False, **how: Any) -> bool:
        """Yes or no."""
        return bool(self._draw(st.toggle, name, label, start, **how))

    def seed(self, help: str | None = None) -> int:
        """The seed of the page's random numbers."""
        return self.whole("seed", "Seed", 0, MOST, 0, help=help)

    def steps(self, start: int, most: int = 1000, help: str | None = None) -> int:
        """How many steps attacks take."""
        return self.whole("steps", "Steps", 1, most, start, help=help)

    def images(self, counts: Sequence[int], start: int, **how: Any) -> int:
        """How many images are measured."""
        return int(self.slide("count", "Images", counts, start, **how))

    def epsilon(
        self,
        start: float,
        *,
        name: str,
        norm: str = "linf",
        label: str = "Epsilon",
        low: float = 0.25,
        help: str | None = None,
    ) -> float:
        """The size of a perturbation with pixels in [0,1].

        Args:
            start: what the widget shows first: in L-infinity in 255ths, else as it is.
            name: of the widget; of another one wherever another start makes sense.
            norm: in which the size is measured; in L-infinity the widget counts 255ths.
            label: what the size is called.
            low: the smallest that can be chosen, in the widget's units.
            help: what it is the size of.
        """
        pixels = norm == "linf"
        size = self.number(name, label + (" (n/255)" if pixels else ""), low, 255.0, start, help=help)
        return size / 255 if pixels else size

    def norm(self, norms: Collection[str], start: str = "linf", help: str | None = None) -> str:
        """The norm in which perturbations are measured."""
        return self.segment("norm", "Norm", norms, start, format_func=NORMS.__getitem__, help=help)

    def task(self, tasks: Collection[str], on_change: Callable[[], None] | None = None) -> str:
        """The data set, by its task; MNIST to begin with."""
        return self.segment("task", "Data set", tasks, "mnist", format_func=TASKS.__getitem__, on_change=on_change)

    def model(self, task: str, start: str, label: str = "Model", name: str | None = None, **how: Any) -> str:
        """One model of a task that is on this machine; its key."""
        keys = [key for key in trained.keys(task) if is_here(key)]
        return self.select(name or f"model_{task}", label, keys, start, format_func=model_name, **how)

    def models(self, task: str, start: Collection[str], help: str | None = None) -> tuple[str, ...]:
        """Several models of a task; their keys.

        Args:
            task: of the models.
            start: names of those chosen to begin with, without their task.
            help: what is done with them.
        """
        return self.several(
            f"models_{task}",
            "Models",
            trained.keys(task),
            [f"{task}/{name}" for name in start],
            format_func=lambda key: model_name(key) + ("" if is_here(key) else " (download)"),
            help=help,
        )


def model_name(key: str) -> str:
    """What a model is called on the pages."""
    return find_model(key).card().name
