"""Widgets of different pages have different keys, so that no page's settings leak into another."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from itertools import combinations

import pytest
from streamlit.testing.v1 import AppTest

from lab.ui.pages.defenses.page import VIEWS
from lab.ui.shell import jobs
from tests.support.pages import PAGES, app

SHARED = {"model", "source", "image", "window", "look", "mnist_image", "fashion_mnist_image", "target", "seed"}
SHARED |= {"attack", "norm", "eps", "alpha", "steps", "momentum"}
"""The scenario that Attack, Compare and Representations have in common: model, picture, attack, goal and seed."""
SHELL = ("run", "live", "large", "cancel_", "again_")
"""How keys of what the shell draws begin: the run button, larger type, and the jobs' buttons, with the slot's name."""
OTHERWISE = {"attack"}
"""Pages whose keys begin otherwise: the parameters of Attack have no prefix, as in its oldest links."""
WIDGETS = ("selectbox", "multiselect", "number_input", "select_slider", "slider", "toggle", "button", "text_input",
           "checkbox", "radio", "button_group", "segmented_control")  # fmt: skip


class Idle:
    """A worker that never begins."""

    def submit(self, *args: object) -> Future[object]:
        return Future()


def idle(patch: pytest.MonkeyPatch) -> None:
    """The forms alone: nothing is measured."""
    patch.setattr(jobs, "_worker", lambda device, lane: Idle())
    patch.setattr(jobs, "AT_ONCE", 0.0)


def of_field(key: str) -> str:
    """The key of the field that a slider, or the share of 1 beside it, belongs to; any other key as it is."""
    return key.removeprefix("_").removesuffix("_slide").removesuffix("_unit") if key.startswith("_") else key


def keys(name: str) -> set[str]:
    """Keys of the widgets that a page draws, of a view of Defenses without its switch."""
    at = app()
    if name in VIEWS:
        at.query_params["defenses_view"] = name
    at = at.switch_page(f"pages/{'defenses' if name in VIEWS else name}.py").run()
    assert not at.exception
    found = {of_field(w.key) for kind in WIDGETS for w in at.get(kind) if getattr(w, "key", None)}
    return {key for key in found if not key.startswith(SHELL)} - ({"defenses_view"} if name in VIEWS else set())


@pytest.fixture(scope="module")
def drawn() -> Iterator[dict[str, set[str]]]:
    with pytest.MonkeyPatch.context() as patch:
        idle(patch)
        yield {name: keys(name) for name in (*VIEWS, *(p for p in PAGES if p not in ("overview", "defenses")))}


def test_different_pages_have_different_keys(drawn: dict[str, set[str]]) -> None:
    both = {(a, b): drawn[a] & drawn[b] - SHARED for a, b in combinations(drawn, 2)}
    assert {pair: same for pair, same in both.items() if same} == {}


def test_a_page_s_keys_begin_with_its_name(drawn: dict[str, set[str]]) -> None:
    names = {name: VIEWS[name].name if name in VIEWS else name for name in drawn}
    strays = {name: {k for k in drawn[name] - SHARED if not k.startswith(f"{names[name]}_")} for name in drawn}
    assert {name: found for name, found in strays.items() if found and name not in OTHERWISE} == {}


def test_the_settings_of_one_page_do_not_leak_into_another(monkeypatch: pytest.MonkeyPatch) -> None:
    idle(monkeypatch)
    at: AppTest = app()
    at.query_params.update(transfer_task="Fashion-MNIST", transfer_seed="7")
    at.switch_page("pages/transfer.py").run()
    at.query_params.clear()
    at.query_params["defenses_view"] = "Adversarial training"
    at.switch_page("pages/defenses.py").run()
    assert at.number_input(key="training_seed").value == 0
    assert at.number_input(key="training_eps").value == 76.5
