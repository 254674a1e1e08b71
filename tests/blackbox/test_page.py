"""The Black box page, without a browser."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

import lab
from lab.experiments.blackbox.curves import prepare, scored
from lab.experiments.blackbox.oracle import labels_of
from lab.experiments.blackbox.substitute import Substitute, balanced, copy_oracle
from lab.images import encode
from tests.support.pages import app, open_page, settle, table, verdict

QUICK = {"o_rounds": "1", "o_epochs": "1", "o_initial": "20", "o_tests": "100"}


def page(**query: str) -> AppTest:
    return open_page("blackbox", **{**QUICK, **query})


def texts(at: AppTest) -> str:
    return " ".join(m.value for m in [*at.markdown, *at.caption])


def test_the_verdict_and_the_table_say_what_the_package_measures() -> None:
    at = page()
    data, model = lab.load_data("mnist"), lab.load_model("mnist/cnn_small")
    first, rest = balanced(data, 20)
    judge, oracle = prepare(labels_of(model), rest.rows(slice(0, 100)), 9600, 1, counted=False)
    *_, last = scored(copy_oracle(oracle, first.x, 10, Substitute(rounds=1, epochs=1)), judge)
    assert "After **40 labels**" in verdict(at)
    assert f"agrees with Convolutional net, small on **{last.score.agreement:.0%}**" in verdict(at)
    assert f"on **{last.score.fgsm:.0%}** of them" in verdict(at)
    assert list(table(at, "labels asked")["labels asked"]) == ["20", "40"]


def test_the_query_attacks_stand_beside_the_copy() -> None:
    at = page()
    at.session_state["o_queries"] = ["square"]
    at.session_state["o_images"] = 3
    at = settle(at)
    assert "The same 3 images for all" in texts(at)


def test_a_preset_sets_the_oracle_and_the_copy() -> None:
    at = page()
    at.session_state["_preset"] = "Defended net"
    at = settle(at)
    assert at.selectbox(key="o_oracle").value == "mnist/cnn_pgd_at"
    assert at.session_state["o_optimiser"] == "adam"
    assert at.session_state["o_epochs"] == 30


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/label", "is not among the addresses"),
        ("nonsense", "looks like http://127.0.0.1:8600/label"),
        ("http://127.0.0.1:1/label", "gave no answer in 3 tries"),
    ],
)
def test_an_endpoint_that_cannot_be_asked_is_told_in_one_sentence(url: str, said: str) -> None:
    at = page(o_source="An endpoint")
    at.session_state["o_url"] = url
    at = settle(at)
    if said.startswith("gave"):
        at.button(key="run").click()
        at = settle(at)
    assert any(said in e.value for e in at.error)


def test_the_command_asks_for_what_the_page_shows() -> None:
    at = page()
    at.session_state["blackbox_tabs"] = "Take away"
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
        at.file_uploader(key="o_own").upload(f"{i}.png", encode(x), "image/png")
    at.button(key="run").click()
    at = settle(at)
    assert "After **6 labels**" in verdict(at)
