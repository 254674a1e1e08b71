"""The store: what was measured is found again by all that it rests on, and by nothing less."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lab
from lab import devices, store
from lab.store import Key, Store, Stored

KEY = Key("cats", {"eps": 0.1}, 3, {"mnist/mlp": "aa"}, {"mnist test": "bb"}, "cc")


def stored(key: Key = KEY, value: float = 0.5, complete: bool = True) -> Stored:
    return Stored.now(key, {"value": value}, "lab reproduce cats", complete)


def test_a_result_is_found_by_what_it_rests_on(tmp_path: Path) -> None:
    kept = Store((tmp_path,))
    file = kept.keep(stored())
    assert kept.find(replace(KEY)).record == {"value": 0.5}  # type: ignore[union-attr]
    assert json.loads(file.read_text(encoding="utf-8"))["command"] == "lab reproduce cats"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"params": {"eps": 0.2}}, "parameters"),
        ({"seed": 4}, "seed"),
        ({"models": {"mnist/mlp": "ab"}}, "weights"),
        ({"images": {"mnist test": "ba"}}, "images"),
        ({"code": "cd"}, "code"),
    ],
)
def test_whatever_changes_makes_another_key(tmp_path: Path, change: dict, word: str) -> None:
    kept, other = Store((tmp_path,)), replace(KEY, **change)
    kept.keep(stored())
    assert kept.find(other) is None
    assert KEY.differs(other) == (word,)


def test_the_first_folder_is_written_to_and_all_are_read(tmp_path: Path) -> None:
    own, shipped = Store((tmp_path / "own", tmp_path / "shipped")), Store((tmp_path / "shipped",))
    shipped.keep(stored())
    assert own.find(KEY) is not None
    own.keep(stored(replace(KEY, seed=9)))
    assert [s.key.seed for s in own.of("cats")] == [9, 3]
    assert [s.key.seed for s in shipped.of("cats")] == [3]


def test_a_damaged_or_foreign_file_is_no_result(tmp_path: Path) -> None:
    kept = Store((tmp_path,))
    kept.keep(stored())
    (tmp_path / "cut.json").write_text('{"key": {"exp', encoding="utf-8")
    (tmp_path / "other.json").write_text('{"key": 3}', encoding="utf-8")
    assert len(list(kept)) == 1


def test_a_whole_result_comes_before_a_partial_one(tmp_path: Path) -> None:
    kept = Store((tmp_path / "a", tmp_path / "b"))
    Store((tmp_path / "b",)).keep(stored(value=1.0))
    kept.keep(stored(value=0.0, complete=False))
    assert kept.find(KEY).record["value"] == 1.0  # type: ignore[union-attr]


def test_weights_and_images_have_digests_of_every_value() -> None:
    net = torch.nn.Linear(3, 2)
    before = store.weights_digest(net)
    assert store.weights_digest(net) == before
    with torch.no_grad():
        net.bias[1] += 1e-6
    assert store.weights_digest(net) != before
    x, y = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
    assert store.images_digest(x, y) != store.images_digest(x, y.flip(0))
    assert store.images_digest(x) != store.images_digest(x.view(2, 1, 2, 8))


def test_the_code_s_digest_follows_what_is_imported_but_no_words(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "lab_sample"
    package.mkdir()
    texts = {
        "plain": 'X = 1\n"""One."""\n\n\ndef f():\n    """Says one."""\n    return X\n',
        "words": 'X = 1\n"""Uno."""\n\n\n# a comment\ndef f():\n    """Says another thing."""\n    return X\n',
        "other": "X = 1\n\n\ndef f():\n    return X + 1\n",
    }
    digests = {}
    for name, text in texts.items():
        (package / "sample.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(store, "find_spec", lambda module: type("Spec", (), {"origin": str(package / "sample.py")}))
        for forget in (store.code_digest, store._source):
            forget.cache_clear()
        digests[name] = store.code_digest("sample")
    for forget in (store.code_digest, store._source):
        forget.cache_clear()
    assert digests["plain"] == digests["words"]
    assert digests["plain"] != digests["other"]


def test_the_code_s_digest_rests_on_the_attacks_that_an_experiment_uses() -> None:
    assert "lab.attacks.norms" in store.code_of("lab.experiments.papers.defenses")
    assert not any(name.startswith(("lab.ui", "lab.cli")) for name in store.code_of("lab.experiments.papers.catalog"))


def test_what_does_not_count_is_followed_but_left_out() -> None:
    whole = store.code_of("lab.ui.pages.clever.page")
    counted = store.code_of("lab.ui.pages.clever.page", ("lab.ui.",))
    assert "lab.ui.shell.page" in whole
    assert counted == [name for name in whole if not name.startswith("lab.ui.")]
    assert "lab.experiments.clever.score" in counted


def test_where_a_person_s_results_are_kept(monkeypatch) -> None:
    monkeypatch.setenv("LAB_CACHE", "/somewhere")
    assert store.cache_folder() == Path("/somewhere")
    monkeypatch.delenv("LAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert store.cache_folder() == Path("/caches/adversarial-robustness-lab/experiments")


def test_what_is_stored_says_where_it_comes_from() -> None:
    kept = stored()
    assert kept.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert kept.device == devices.describe()
    assert kept.date.endswith("+00:00")
    assert lab.__version__
