"""The widgets of a page's form: each is part of the link, under a name that begins with the page's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st

from lab.data.catalog import TASKS
from lab.models.catalog import find_model, is_here
from lab.params import number
from lab.types import LabError
from lab.ui.shell import trained
from lab.ui.shell.scales import COUNTS, scale_of
from lab.ui.shell.words import short_name

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
        asked = st.query_params.get_all(key) if linked and key not in st.session_state else []
        if linked:
            options["bind"] = "query-params"
            options["persist_state"] = "session"
        if name in self.locked:
            options["disabled"] = True
        chosen = widget(*args, key=key, **options)
        if any(asked):
            _check(key, asked, chosen, options.get("format_func", str))
        return chosen

    def chosen_model(self, name: str, label: str, keys: Sequence[str], start: str, **how: Any) -> str:
        """One of some models, by their keys; of a net that is kept no longer, says that another takes its place."""
        key = self.key(name)
        held = st.session_state.get(key)
        gone = isinstance(held, str) and trained.is_gone(held)
        if gone:
            st.session_state[key] = start
        chosen = self.select(name, label, keys, start, **how)
        if gone:
            _note_gone(key, [str(held)], how.get("format_func", str)(chosen))
        return chosen

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

    def count(self, name: str, label: str, low: int, high: int, start: int, help: str | None = None) -> int:
        """A whole number, on a slider over well-chosen values and exactly in a field beside it."""
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        with right:
            chosen = self.whole(name, label, low, high, start, label_visibility="collapsed")
        with left:
            values = sorted({low, start, high, *(int(n) for n in COUNTS if low <= n <= high)})
            self._slider(name, label, values, chosen, help)
        return chosen

    def size(
        self,
        name: str,
        label: str,
        start: float | None,
        *,
        norm: str = "linf",
        low: float = 0.0,
        high: float = math.inf,
        optional: bool = False,
        help: str | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> float | None:
        """A size on the scale of pixels in [0,1]; None where it is optional and left open.

        A slider over well-chosen values; below it any value, in L-infinity in 255ths, by which it stands in links, and
        in [0, 1] beside it.

        Args:
            name: of the widget.
            label: what the size is called.
            start: what the widget shows first: in L-infinity in 255ths, else as it is.
            norm: in which the size is measured.
            low: the smallest that can be chosen, in the widget's units.
            high: the largest.
            optional: whether it may be left open.
            help: what it is the size of.
            on_change: called when it is changed.
        """
        pixels, steps = norm == "linf", scale_of(norm)
        high = min(high, 255.0 if pixels else float(steps[-1]))
        place = st.container()
        sides = st.columns(2) if pixels else [st.container()]
        how: dict[str, Any] = {"step": _fineness(steps, start), "format": "%g", "placeholder": "automatic"}
        with sides[0]:
            field = "n/255" if pixels else label
            visible = {} if pixels else {"label_visibility": "collapsed"}
            value = self.number_or_none(name, field, low, high, start, on_change=on_change, **how, **visible)
        if pixels:
            with sides[1]:
                self._in_unit(name, low, high, value, how, on_change)
        with place:
            values = [
                *([None] if optional else []),
                *sorted({float(v) for v in (*steps, start) if v and low <= v <= high} | {float(low)}),
            ]
            self._slider(name, label, values, value, help, on_change, lambda v: size_label(v, norm))
        if value is None and not optional:
            value = start
        return None if value is None else value / 255 if pixels else value

    def _slider(
        self,
        name: str,
        label: str,
        values: Sequence[Any],
        chosen: float | None,
        help: str | None,
        on_change: Callable[[], None] | None = None,
        format_func: Callable[[Any], Any] = str,
    ) -> None:
        """A slider that shows the value nearest to that of the field of the same name, and sets it."""
        key, slide = self.key(name), f"_{self.key(name)}_slide"
        known = [v for v in values if v is not None]
        # at every run, even where nothing changes: a run that is cut short may not have reached the browser
        st.session_state[slide] = None if chosen is None else min(known, key=lambda v: abs(v - chosen))

        def moved() -> None:
            st.session_state[key] = st.session_state[slide]
            if on_change is not None:
                on_change()

        disabled = name in self.locked
        st.select_slider(
            label, values, key=slide, on_change=moved, format_func=format_func, help=help, disabled=disabled
        )

    def _in_unit(
        self,
        name: str,
        low: float,
        high: float,
        value: float | None,
        how: Mapping[str, Any],
        on_change: Callable[[], None] | None,
    ) -> None:
        """The field that shows and sets a number of 255ths as a share of 1."""
        key, unit = self.key(name), f"_{self.key(name)}_unit"
        least, most = (round(bound / 255, 4) for bound in (low, high))
        st.session_state[unit] = None if value is None else round(value / 255, 4)

        def changed() -> None:
            share = st.session_state[unit]
            st.session_state[key] = None if share is None else min(max(round(share * 255, 4), low), high)
            if on_change is not None:
                on_change()

        options = {**how, "step": 0.01, "disabled": name in self.locked}
        st.number_input("in [0, 1]", least, most, key=unit, on_change=changed, **options)

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
        return self.count("steps", "Iterations", 1, most, start, help=help)

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
        on_change: Callable[[], None] | None = None,
    ) -> float:
        """The size of a perturbation; arguments as of `size`, of which it is one that is always chosen."""
        size = self.size(name, label, start, norm=norm, low=low, help=help, on_change=on_change)
        return float(size or 0)

    def norm(self, norms: Collection[str], start: str = "linf", help: str | None = None) -> str:
        """The norm in which perturbations are measured."""
        return self.segment("norm", "Norm", norms, start, format_func=NORMS.__getitem__, help=help)

    def task(self, tasks: Collection[str], on_change: Callable[[], None] | None = None) -> str:
        """The data set, by its task; MNIST to begin with."""
        return self.segment("task", "Data set", tasks, "mnist", format_func=TASKS.__getitem__, on_change=on_change)

    def model(self, task: str, start: str, label: str = "Model", name: str | None = None, **how: Any) -> str:
        """One model of a task that is on this machine; its key."""
        keys = [key for key in trained.keys(task) if is_here(key)]
        return self.chosen_model(name or f"model_{task}", label, keys, start, format_func=model_name, **how)

    def models(self, task: str, start: Collection[str], help: str | None = None) -> tuple[str, ...]:
        """Several models of a task; their keys.

        Args:
            task: of the models.
            start: names of those chosen to begin with, without their task.
            help: what is done with them.
        """
        offered, key = trained.keys(task), self.key(f"models_{task}")
        held = st.session_state.get(key, [])
        gone = [each for each in held if trained.is_gone(each)]
        if gone:
            st.session_state[key] = [each for each in held if each not in gone]
            _note_gone(key, gone, "the others")
        return self.several(
            f"models_{task}",
            "Models",
            offered,
            [f"{task}/{name}" for name in start],
            format_func=lambda key: short_name(key) + ("" if is_here(key) else " (download)"),
            help=help,
        )


def model_name(key: str) -> str:
    """What a model is called on the pages."""
    return find_model(key).card().name


def size_label(size: float | None, norm: str = "linf") -> str:
    """A size as it is read: in L-infinity 255ths and, beside them, the share of 1."""
    if size is None:
        return "automatic"
    return f"{size:g}/255" if norm == "linf" else f"{size:g}"


def _fineness(steps: Sequence[float], start: float | None) -> float:
    """The step of a size's buttons: as fine as the scale is around where it starts."""
    return float(next((b - a for a, b in itertools.pairwise(steps) if b > (start or 0)), 1))


OWN = ", a net that was saved in another session or is no longer kept"
REFUSED = "_refused"
"""Where the session keeps what links asked for and did not get: what was asked and what is used, by widget."""


def _check(key: str, asked: Sequence[str], chosen: Any, format_func: Callable[[Any], Any]) -> None:
    """Notes what a link asked of a widget where the widget shows something else; Streamlit falls back in silence."""
    several = isinstance(chosen, (list, tuple))
    shown = [str(format_func(each)) for each in (chosen if several else [chosen])]
    if len(asked) != len(shown) or not all(map(_same, asked, shown)):
        st.session_state.setdefault(REFUSED, {})[key] = ", ".join(asked), ", ".join(shown), st.session_state[key]


def _same(asked: str, shown: str) -> bool:
    if asked.lower() == shown.lower():
        return True
    try:
        return abs(number(asked) - number(shown)) < 1e-6
    except LabError:
        return False


LONGEST = 60
"""Letters that are told of what a link asked for."""
GONE = "_gone"
"""Where the session keeps which nets were chosen and are kept no longer: their names and what is used, by widget."""


def _note_gone(key: str, gone: Sequence[str], used: str) -> None:
    """Notes that nets which were chosen are kept no longer."""
    names = ", ".join(trained.name_of(each) for each in gone)
    st.session_state.setdefault(GONE, {})[key] = names, used, st.session_state[key]


def shorten(text: str) -> str:
    """A text that a link may make as long as it likes, cut so that it is seen to be cut."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def tell_refused() -> None:
    """Says what the link asked for that the lab does not have, and what is used instead, as long as that is so.

    The same of nets that were chosen and are kept no longer.
    """
    gone: dict[str, tuple[str, str, Any]] = st.session_state.get(GONE, {})
    for key, (names, used, value) in list(gone.items()):
        if key not in st.session_state:
            continue
        if st.session_state[key] != value:
            del gone[key]
        else:
            st.warning(f"Chosen before, but no longer kept: {names} (used instead: {used}).")
    refused: dict[str, tuple[str, str, Any]] = st.session_state.get(REFUSED, {})
    for key, (_, _, used) in list(refused.items()):
        if key in st.session_state and st.session_state[key] != used:  # the person has chosen since
            del refused[key]
    told = [
        f"{key} “{shorten(asked)}”{OWN if asked.startswith(trained.MARK) else ''} (used instead: {shown})"
        for key, (asked, shown, _) in refused.items()
        if key in st.session_state
    ]
    if told:
        st.warning(f"The link asked for something that the lab does not have: {'; '.join(told)}.")
