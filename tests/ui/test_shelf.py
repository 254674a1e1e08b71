"""Answers that come with the lab: shown at once, only while they are true, and said to be stored."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import pytest
import torch

from lab import store
from lab.experiments.attack.request import Request
from lab.ui.pages.catalog import PAGES
from lab.ui.parts.result import compute
from lab.ui.shell import shelf
from tests.support.pages import app, open_page, settle


def measure() -> None:
    """What computes the answers of these tests."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """A key: two that differ in the picture alone are equal."""

    model: str
    eps: float
    x: torch.Tensor = dataclasses.field(compare=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "FOLDER", tmp_path)
    caches = shelf._index, shelf._read, shelf._code
    for known in caches:
        known.cache_clear()
    yield tmp_path
    for known in caches:
        known.cache_clear()


KEY = Setup("mnist/softmax", 0.1, torch.zeros(2))


def test_what_is_kept_is_found_by_an_equal_key_and_no_other(folder) -> None:
    shelf.keep({("place", KEY): ({"share": 0.5}, measure)})
    found = shelf.find("place", Setup("mnist/softmax", 0.1, torch.ones(2)), partial(measure))
    assert found is not None
    assert found.value == {"share": 0.5}
    assert found.device
    assert shelf.find("elsewhere", KEY, measure) is None
    assert shelf.find("place", dataclasses.replace(KEY, eps=0.2), measure) is None


@pytest.mark.parametrize("what", ["code", "weights", "images"])
def test_it_is_not_shown_once_what_it_rests_on_has_changed(folder, monkeypatch, what: str) -> None:
    shelf.keep({("place", KEY): (1, measure)})
    assert shelf.find("place", KEY, measure) is not None
    change = {
        "code": ("_code", lambda module: "other"),
        "weights": ("_weights", lambda task: "other"),
        "images": ("_images", lambda: "other"),
    }
    monkeypatch.setattr(shelf, *change[what])
    assert shelf.find("place", KEY, measure) is None


def test_it_is_not_shown_once_what_computes_it_has_changed(folder) -> None:
    def measure_else() -> None:
        _ = 1

    shelf.keep({("place", KEY): (1, measure)})
    assert shelf.find("place", KEY, measure_else) is None


def test_the_code_that_is_noted_is_asked_again_once_a_file_has_changed(folder, monkeypatch) -> None:
    shelf.keep({("place", KEY): (1, compute)})
    monkeypatch.setattr(store, "code_digest", lambda module, without=(): "changed")
    shelf._code.cache_clear()
    assert shelf.find("place", KEY, compute) is not None  # no file has changed: nothing is read but the files
    monkeypatch.setattr(shelf, "_files", lambda modules: "changed")
    shelf._code.cache_clear()
    assert shelf.find("place", KEY, compute) is None


def test_an_answer_that_is_measured_again_to_the_same_end_keeps_its_date(folder) -> None:
    shelf.keep({("place", KEY): (1, measure)})
    index = json.loads((folder / shelf.INDEX).read_text(encoding="utf-8"))
    (name,) = index["answers"]
    index["answers"][name]["date"] = "2001-01-01"
    (folder / shelf.INDEX).write_text(json.dumps(index), encoding="utf-8")
    shelf._index.cache_clear()
    shelf.keep({("place", KEY): (1, measure)})
    assert shelf.find("place", KEY, measure).date == "2001-01-01"
    shelf.keep({("place", KEY): (2, measure)})
    assert shelf.find("place", KEY, measure).date != "2001-01-01"
    assert len(list(folder.glob("*.bin"))) == 1


def test_a_damaged_file_is_no_answer(folder) -> None:
    shelf.keep({("place", KEY): (1, measure)})
    next(folder.glob("*.bin")).write_bytes(b"damaged")
    assert shelf.find("place", KEY, measure) is None


def test_a_key_says_what_it_is_compared_by() -> None:
    assert shelf.said(KEY) == shelf.said(Setup("mnist/softmax", 0.1, torch.ones(2)))
    assert shelf.said(Request("a", "b", "c", "d", {"eps": 0.1})) != shelf.said(
        Request("a", "b", "c", "d", {"eps": 0.2})
    )
    json.dumps(shelf.said(Request("a", "b", "c", "d", {"eps": None})))


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_every_page_s_first_paint_is_stored(page: str) -> None:
    """Where this fails, `python scripts/build_answers.py` measures what is no longer true."""
    at = app()
    at.switch_page(f"pages/{page}.py").run()
    assert not at.session_state["_jobs"], "the page began work: what it shows first is not stored, or not true any more"
    assert any("Stored with the lab: measured on" in c.value for c in at.caption)


def test_run_measures_anew() -> None:
    at = open_page("attack", model="Softmax regression, MNIST")
    assert not any("Stored with the lab" in c.value for c in at.caption)
    at = open_page("compare")
    assert any("Stored with the lab" in c.value for c in at.caption)
    at.button(key="run").click()
    settle(at)
    assert not any("Stored with the lab" in c.value for c in at.caption)
