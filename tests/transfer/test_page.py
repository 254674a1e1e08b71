"""The Transfer page, without a browser."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.experiments.transfer import szegedy
from lab.experiments.transfer.agreement import agreement
from lab.experiments.transfer.matrix import Matrix, Transfer
from lab.ui.pages.transfer import setup, sweeps, trio
from lab.ui.pages.transfer.page import PAGE
from lab.ui.shell.downloads import files_of, table_of
from tests.support.pages import open_page, settle, table, verdict

KEYS = ["mnist/softmax", "mnist/mlp", "mnist/cnn"]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(setup.MODELS, "mnist", ("softmax", "mlp", "cnn"))
    monkeypatch.setattr(trio, "IMAGES", 100)
    monkeypatch.setitem(sweeps.SWEEPS, "Iterations", replace(sweeps.SWEEPS["Iterations"], values=(1, 3)))


def page(**query: str) -> AppTest:
    return open_page("transfer", **{PAGE.key("count"): "20", PAGE.key("steps"): "3", **query})


def tab(at: AppTest, name: str) -> AppTest:
    at.session_state[PAGE.key("tabs")] = name
    return settle(at)


def texts(at: AppTest) -> str:
    return " ".join(" ".join(m.value for m in [*at.markdown, *at.caption]).split())


def expected() -> Transfer:
    data = lab.load_data("mnist").rows(slice(0, 20))
    return lab.transfer(KEYS, KEYS, data.x, data.y, "mi_fgsm", eps=0.3, steps=3)


def test_the_verdict_and_the_files_say_what_the_package_measures() -> None:
    at, found = page(), expected()
    others = [found.cells[s][t].success for s in range(3) for t in range(3) if s != t]
    assert f"fool another model **{sum(others) / 6:.0%}** of the time" in verdict(at)
    assert f"images that all of these models classify correctly count, {found.n} of 20" in texts(at)
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    shown = torch.tensor(figure["data"][0]["z"])
    assert torch.allclose(shown, found.success, atol=1e-6)
    assert len(figure["layout"]["shapes"]) == 3
    at = tab(at, "Take away")
    command = next(c.value for c in at.code if c.value.startswith("python -m lab transfer"))
    assert "--models mnist/softmax,mnist/mlp,mnist/cnn" in command
    assert "--param eps=0.3 " in command
    offered = {b.label for b in at.get("download_button")}
    assert offered == {"Table (.csv)", "Everything (.json)", "Images (.npz)"}


def test_a_cell_shows_the_images_behind_it() -> None:
    at, found = page(), expected()
    points = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][1]
    clicked = points["customdata"][[*zip(points["y"], points["x"], strict=True)].index(("CNN", "Softmax"))]
    assert clicked == ["mnist/cnn", "mnist/softmax"]
    at.selectbox(key=PAGE.key("source")).select(clicked[0])
    at.selectbox(key=PAGE.key("target")).select(clicked[1])
    at = settle(at)
    seen, own = found.predictions[2, 0], found.predictions[2, 2]
    y = lab.load_data("mnist").y[found.rows]
    first = int((seen != y).long().argmax())
    assert f"{seen[first]} ({own[first]})" in [c.value for c in at.caption]


def test_what_the_cells_show_can_be_changed() -> None:
    at = page()
    at.session_state[PAGE.key("what")] = "agreement"
    at = settle(at)
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    values = figure["data"][0]["z"]
    for row, want in zip(values, expected().agreement.tolist(), strict=True):
        for value, right in zip(row, want, strict=True):
            assert value is None if right != right else value == pytest.approx(right)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("What makes it transfer", "number of these models: 2"),
        ("Ensembles", "made without it"),
        ("Maxout, softmax, RBF", "the same wrong class"),
        ("Disjoint training sets", "FC100-100-10' learned from the other half"),
    ],
)
def test_every_tab_shows_its_result(name: str, told: str) -> None:
    assert told in texts(tab(page(), name))


def test_the_trio_is_shown_beside_the_papers_figures() -> None:
    at = tab(page(), "Maxout, softmax, RBF")
    data = lab.load_data("mnist").rows(slice(0, 100))
    models = {name: lab.load_model(f"mnist/{name}") for name in trio.TRIO}
    found = agreement("maxout", models, data.x, data.y, 0.25)
    shown = table(at, "in the paper")
    assert list(shown["in the paper"])[:2] == ["54.6%", "84.6%"]
    assert list(shown["here"])[:2] == [f"{found.same['softmax']:.1%}", f"{found.both['softmax']:.1%}"]


def test_the_papers_tables_stand_beside_ours() -> None:
    at = tab(page(), "Disjoint training sets")
    first = szegedy.load().tables.nets[0]
    assert table(at, "mean distortion")["mean distortion"][0] == f"{first.distortion:.3g} (0.062)"


def test_one_model_is_too_few_and_told_in_one_sentence() -> None:
    at = page()
    at.session_state[PAGE.key("models_mnist")] = ["mnist/softmax"]
    at = settle(at)
    assert at.error[0].value == "Choose at least two models: transfer is what happens between them."


def test_an_old_link_restores_the_same_settings() -> None:
    old = {"t_models_mnist": "Softmax regression,Fully connected net, 100-100", "t_attack": "FGSM", "t_eps": "102/255"}
    at = open_page("transfer", t_count="20", t_seed="4", **old)
    assert at.selectbox(key=PAGE.key("attack")).value == "fgsm"
    assert at.select_slider(key=PAGE.key("count")).value == 20
    assert at.number_input(key=PAGE.key("eps")).value == 102
    assert at.number_input(key=PAGE.key("seed")).value == 4


def test_the_files_hold_the_record_and_the_rows_of_the_result() -> None:
    found, data = expected(), lab.load_data("mnist").rows(slice(0, 20))
    result = Matrix(found, "mi_fgsm", (("eps", 0.3), ("steps", 3)), 0, "mnist", tuple(data.ids))
    csv, everything, *more = files_of(result)
    assert not more
    assert csv.data == table_of(result.rows())
    assert json.loads(everything.data) == result.record()
    assert result.rows()[1]["success"] == found.cells[0][1].success
    assert len(result.rows()) == 9


def test_setups_are_the_same_where_all_that_was_chosen_is() -> None:
    def chosen(**other: object) -> setup.Setup:
        method = setup.Method("fgsm", (("eps", 0.1),))
        return replace(setup.Setup("mnist", tuple(KEYS), 20, method, 0), **other)

    assert chosen() == chosen()
    changes = {
        "task": "fashion_mnist",
        "models": ("mnist/mlp",),
        "count": 50,
        "method": setup.Method("bim", ()),
        "seed": 1,
    }
    assert all(chosen(**{name: value}) != chosen() for name, value in changes.items())
