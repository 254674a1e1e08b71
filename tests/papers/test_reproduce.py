"""`lab reproduce`: figures are measured once, kept, and known to be stale when what they rest on has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lab.cli import main
from lab.experiments.papers import catalog
from lab.experiments.papers.catalog import CATALOG
from lab.experiments.papers.experiment import Bench, Details, Experiment, Figure, reproduce, share_of, state
from lab.models.catalog import SHIPPED
from lab.progress import Progress
from lab.store import Store

measured: list[int] = []


def measure(bench: Bench) -> Iterator[Figure | Details]:
    measured.append(bench.seed)
    bench.progress.tell(0.0, "first")
    yield share_of("all", torch.tensor([True, True, False, True]), reported=0.7)
    bench.progress.tell(0.5, "second")
    yield Figure("length", 2.5)
    yield Details({"quick": bench.quick})


SAMPLE = Experiment("sample", "A sample", "Nobody 2026", measure, ("mnist/softmax",), (("mnist", "test"),), seed=4)


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path) -> None:
    measured.clear()
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(CATALOG, "sample", SAMPLE)  # type: ignore[misc]


def test_it_is_measured_once_and_then_found(tmp_path: Path) -> None:
    store = Store((tmp_path,))
    first = list(reproduce(SAMPLE, store=store))
    assert [len(r.figures) for r in first] == [1, 2, 2, 2]
    assert first[-1].complete
    (again,) = reproduce(SAMPLE, store=store)
    assert again == first[-1]
    assert measured == [4]
    list(reproduce(SAMPLE, store=store, again=True))
    assert measured == [4, 4]


def test_quick_and_whole_figures_are_kept_apart(tmp_path: Path) -> None:
    store = Store((tmp_path,))
    *_, quick = reproduce(SAMPLE, store=store, quick=True)
    *_, whole = reproduce(SAMPLE, store=store)
    assert (quick.details["quick"], whole.details["quick"]) == (True, False)
    assert len(list(store)) == 2


def test_stopped_it_is_not_complete_and_nothing_is_kept(tmp_path: Path) -> None:
    store, told = Store((tmp_path,)), []
    progress = Progress(lambda share, what: told.append(share), lambda: len(told) > 1)
    *_, last = reproduce(SAMPLE, store=store, progress=progress)
    assert [f.what for f in last.figures] == ["all"]
    assert not last.complete
    assert not list(store)


def test_what_has_changed_is_told(tmp_path: Path) -> None:
    store = Store((tmp_path,))
    assert state(SAMPLE, store) == "not measured"
    list(reproduce(SAMPLE, store=store))
    assert state(SAMPLE, store) == "measured"
    assert state(replace(SAMPLE, seed=5), store) == "stale: seed"
    assert state(replace(SAMPLE, models=("mnist/mlp",)), store) == "stale: weights"
    assert state(replace(SAMPLE, models=("mnist/nothing",)), store).startswith("measured on 20")


def test_a_share_has_its_interval() -> None:
    figure = share_of("x", torch.tensor([True] * 5 + [False] * 5))
    assert figure.value == 0.5
    assert figure.low == pytest.approx(0.2366, abs=1e-4)
    assert figure.high == pytest.approx(0.7634, abs=1e-4)
    assert figure.n == 10


def test_the_command_prints_and_writes_the_figures(capsys, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    assert main(["reproduce", "sample", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "all: 75.0%  (95%: 30.1% to 95.4%; n = 4)  paper: 0.7" in printed
    assert "length: 2.5" in printed
    record = json.loads(file.read_text(encoding="utf-8"))
    assert [f["what"] for f in record["figures"]] == ["all", "length"]
    assert record["complete"] is True


def test_the_command_lists_and_checks(capsys) -> None:
    assert main(["reproduce"]) == 0
    assert "szegedy " in capsys.readouterr().out
    assert main(["reproduce", "sample", "--check"]) == 0
    assert "not measured" in capsys.readouterr().out


def test_an_unknown_experiment_is_one_sentence(capsys) -> None:
    assert main(["reproduce", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("lab: there is no experiment 'nothing': the lab has szegedy, ")


def test_every_experiment_can_be_told_apart_and_names_what_it_rests_on() -> None:
    experiments = [e for e in CATALOG.values() if e is not SAMPLE]
    assert len({e.title for e in experiments if "/" not in e.id}) == len([e for e in experiments if "/" not in e.id])
    for e in experiments:
        assert e.title
        assert e.source
        assert e.data
        assert set(e.models) <= {*SHIPPED, "imagenet/efficientnet_lite0", "imagenet/efficientnet_lite1"} | {
            "imagenet/efficientnet_lite2"
        }
    assert catalog.find_experiment("smoothing").id == "smoothing"


def test_figures_are_measured_in_full_precision_and_the_switch_is_left_as_it_was(tmp_path: Path) -> None:
    allowed: list[str] = []

    def look(bench: Bench) -> Iterator[Figure | Details]:
        for _ in range(2):
            allowed.append(torch.backends.cudnn.conv.fp32_precision)
            yield Figure("one", 1.0)

    before = torch.backends.cudnn.conv.fp32_precision
    for _ in reproduce(replace(SAMPLE, measure=look), store=Store((tmp_path,))):
        assert torch.backends.cudnn.conv.fp32_precision == before
    assert allowed == ["ieee", "ieee"] != [before, before]
