"""The Black box page, without a browser."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.experiments.blackbox.curves import Copied, Extraction, Score, extract, prepare, scored
from lab.experiments.blackbox.oracle import labels_of
from lab.experiments.blackbox.substitute import Round, Substitute, balanced, copy_oracle
from lab.images import encode
from lab.ui.pages.blackbox.page import PAGE, sentence
from lab.ui.pages.blackbox.setup import Setup
from lab.ui.shell.downloads import files_of, table_of
from tests.support.pages import app, open_page, settle, table, verdict

QUICK = {
    PAGE.key(name): value for name, value in {"rounds": "1", "epochs": "1", "initial": "20", "tests": "100"}.items()
}


def page(**query: str) -> AppTest:
    return open_page("blackbox", **{**QUICK, **query})


def texts(at: AppTest) -> str:
    return " ".join(" ".join(m.value for m in [*at.markdown, *at.caption]).split())


def test_the_verdict_and_the_table_say_what_the_package_measures() -> None:
    at = page()
    data, model = lab.load_data("mnist"), lab.load_model("mnist/cnn_small")
    first, rest = balanced(data, 20)
    judge, oracle = prepare(labels_of(model), rest.rows(slice(0, 100)), 9600, 1, counted=False)
    *_, last = scored(copy_oracle(oracle, first.x, 10, Substitute(rounds=1, epochs=1)), judge)
    assert "After **40 labels**" in verdict(at)
    assert f"agrees with Convolutional net, small on **{last.score.agreement:.0%}**" in verdict(at)
    assert f"on **{last.score.fgsm:.0%}** of those that it classifies correctly" in verdict(at)
    assert list(table(at, "labels asked")["labels asked"]) == ["20", "40"]


def test_the_query_attacks_stand_beside_the_copy() -> None:
    at = page()
    at.session_state[PAGE.key("queries")] = ["square"]
    at.session_state[PAGE.key("images")] = 3
    at = settle(at)
    assert "The same 3 images for all" in texts(at)


def test_a_preset_sets_the_oracle_and_the_copy() -> None:
    at = page()
    at.segmented_control(key=PAGE.key("preset")).set_value("Defended net")
    at = settle(at)
    assert at.selectbox(key=PAGE.key("oracle")).value == "mnist/cnn_pgd_at"
    assert at.session_state[PAGE.key("optimiser")] == "adam"
    assert at.session_state[PAGE.key("epochs")] == 30


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/label", "is not among the addresses"),
        ("nonsense", "looks like http://127.0.0.1:8600/label"),
        ("http://127.0.0.1:1/label", "gave no answer in 3 tries"),
    ],
)
def test_an_endpoint_that_cannot_be_asked_is_told_in_one_sentence(url: str, said: str) -> None:
    at = page(**{PAGE.key("source"): "An endpoint"})
    at.session_state[PAGE.key("url")] = url
    at = settle(at)
    if said.startswith("gave"):
        at.button(key="run").click()
        at = settle(at)
    assert any(said in e.value for e in at.error)


def test_the_command_asks_for_what_the_page_shows() -> None:
    at = page()
    at.session_state[PAGE.key("tabs")] = "Take away"
    at = settle(at)
    command = next(c.value for c in at.code if c.value.startswith("python -m lab blackbox"))
    assert "--oracle mnist/cnn_small --dataset mnist --initial 20 --limit 100 --budget 9600 --eps 0.3" in command
    assert "--param rounds=1" in command


def test_the_page_runs_alone() -> None:
    at = app("pages/blackbox.py")
    at.query_params.update(QUICK)
    assert "labels**" in verdict(settle(at.run()))


def test_the_persons_own_pictures_are_the_first_to_be_asked() -> None:
    at = page()
    digits = lab.load_data("mnist").x[:3]
    for i, x in enumerate(digits):
        at.file_uploader(key=PAGE.key("own")).upload(f"{i}.png", encode(x), "image/png")
    at.button(key="run").click()
    at = settle(at)
    assert "After **6 labels**" in verdict(at)


def test_an_old_link_restores_the_same_settings() -> None:
    at = open_page("blackbox", o_rounds="1", o_epochs="1", o_initial="20", o_tests="100", o_budget="500", o_seed="3")
    assert at.number_input(key=PAGE.key("budget")).value == 500
    assert at.number_input(key=PAGE.key("seed")).value == 3
    assert at.select_slider(key=PAGE.key("initial")).value == 20
    assert "After **40 labels**" in verdict(at)


def chosen() -> Setup:
    return Setup("mnist/softmax", False, "mnist", "20", None, 30, 9600, 0.3, Substitute(rounds=1, epochs=1), 0)


def test_setups_are_the_same_where_all_that_was_chosen_is() -> None:
    other = Setup("http://a/", True, "fashion_mnist", "2 own, ab", torch.zeros(2), 9, 50, 0.1, Substitute(), 1)
    assert chosen() == chosen()
    assert replace(chosen(), own=other.own) == chosen(), "the digest tells a person's images apart"
    for field in fields(Setup):
        if field.name != "own":
            assert replace(chosen(), **{field.name: getattr(other, field.name)}) != chosen(), field.name


def test_the_files_hold_the_record_and_the_rows_of_the_result() -> None:
    setup = chosen()
    first, test = setup.images()
    *_, rounds = extract(
        labels_of(lab.load_model(setup.oracle)), first, 10, test, setup.settings, budget=9600, counted=False
    )
    result = Extraction(rounds, setup.oracle, "mnist", "20", len(test), 9600, 0.3, setup.settings, 0)
    csv, everything = files_of(result)
    assert csv.data == table_of(result.rows())
    assert json.loads(everything.data) == result.record()
    assert [row["queries"] for row in result.rows()] == [20, 40]


def test_an_oracle_that_answers_one_label_only_is_named_as_that() -> None:
    images = torch.rand(4, 1, 28, 28)
    round = Round(0, None, images, torch.zeros(4, dtype=torch.int64), 4, 4, 1.0, True)
    rounds = (Copied(round, Score(1.0, 0.0, None, 0.0, 4)),)
    result = Extraction(rounds, "mnist/cnn", "mnist", "4", 4, 9, 0.1, Substitute(), 0)
    setup = Setup("mnist/cnn", False, "mnist", "4", None, 4, 9, 0.1, Substitute(), 0)
    told = "Convolutional net answered nothing but **0**: from one label nothing can be copied."
    assert sentence(setup, result) == told
