"""The CLEVER page, without a browser."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from streamlit.testing.v1 import AppTest

import lab
from lab.experiments.clever.distances import Reached, reached
from lab.experiments.clever.score import Clever
from lab.ui.pages.clever import page as clever_page
from lab.ui.pages.clever import setup
from lab.ui.shell.downloads import Offer
from tests.support.pages import open_page, settle, table, verdict

MODEL = "Fully connected net, 100-100, MNIST"
SMALL = {"batches": 12, "samples": 8}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(setup.BUDGETS, "Quick", SMALL)
    monkeypatch.setattr("lab.experiments.clever.distances.ATTACKS", ("deepfool", "fmn"))


def page(**query: str) -> AppTest:
    return open_page("clever", model=MODEL, mnist_image="3", **query)


def tab(at: AppTest, name: str) -> AppTest:
    at.session_state[clever_page.PAGE.key("tabs")] = name
    return settle(at)


def texts(at: AppTest) -> str:
    return " ".join(m.value for m in [*at.markdown, *at.caption])


def expected(**settings: float) -> Clever:
    return lab.clever(lab.load_model("mnist/mlp"), lab.load_data("mnist").x[3:4], **{**SMALL, **settings})


def test_the_verdict_is_what_the_package_measures() -> None:
    at, found = page(), expected()
    model, x = lab.load_model("mnist/mlp"), lab.load_data("mnist").x[3:4]
    best = min(r.distance for r in reached(model, x, "l2"))
    assert f"nearer than **{found.scores[0]:.3g}** in L2" in verdict(at)
    assert f"an attack found is **{best:.3g}**" in verdict(at)
    assert "An estimate, not a certificate" in texts(at)
    bars = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][0]["x"]
    assert sorted(bars) == pytest.approx(sorted(found.by_target[0].tolist()))


def test_in_linf_sizes_are_told_in_255ths() -> None:
    at, found = page(clever_norm="L∞"), expected(norm=math.inf, radius=0.1)
    assert f"**{found.scores[0] * 255:.3g}/255** in L∞" in verdict(at)


def test_an_attack_that_gets_in_under_the_score_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    near = Reached("fmn", 1e-3, 5)
    monkeypatch.setattr(clever_page, "reached", lambda *args, **kwargs: iter([near]))
    at = page()
    assert "An attack found a smaller change than the estimate" in at.error[0].value
    assert "is too large: FMN makes it see *5* at **0.001**" in verdict(at)


def test_the_staircase_saturates_the_score_and_bpda_brings_it_back() -> None:
    at = tab(page(), "Where it fails")
    rows = table(at, "largest gradient")
    assert rows["largest gradient"][1] == "0"
    column = next(c for c in rows.columns if c.startswith("CLEVER"))
    assert rows[column][1] == "5 (the radius)"
    assert float(rows[column][2]) == pytest.approx(float(rows[column][0]), rel=0.3)
    assert rows["DeepFool"][1] == "finds nothing"


def test_a_linear_network_shows_the_exact_distance() -> None:
    at = open_page("clever", model="Softmax regression, MNIST")
    model, x = lab.load_model("mnist/softmax"), lab.load_data("mnist").x[:1]
    found = lab.clever(model, x, **SMALL)
    assert "Within the radius the network is linear" in texts(at)
    names = [trace.get("name", "") for trace in json.loads(at.get("plotly_chart")[0].proto.spec)["data"]]
    assert f"exact: {found.scores[0]:.3g}" in names


def test_every_tab_opens_and_the_command_repeats_the_settings() -> None:
    at = page(clever_radius_l2="4.00")
    for name in ("The fit", "Convergence", "How it works"):
        assert not tab(at, name).exception
    at = tab(at, "Take away")
    command = next(c.value for c in at.code if c.value.startswith("python -m lab clever"))
    assert "--model mnist/mlp --dataset mnist" in command
    assert "--start 3 --limit 1 --norm 2 --batches 12 --samples 8 --radius 4 --order 1 --seed 0" in command


def test_an_old_link_restores_the_same_settings() -> None:
    at = page(k_norm="L1", k_radius_l1="12.00", k_budget="Own", k_batches="10", k_samples="4")
    assert at.number_input(key=clever_page.PAGE.key("radius_l1")).value == 12
    assert at.number_input(key=clever_page.PAGE.key("batches")).value == 10
    assert "in L1" in verdict(at)


def test_the_files_hold_the_scores_the_fits_and_what_attacks_found(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, str | bytes] = {}

    def offer(stem: str, key: str, offers: tuple[Offer, ...]) -> None:
        offered.update({each.ending: each.data for each in offers})

    monkeypatch.setattr("lab.ui.shell.page.offer_files", offer)
    tab(page(), "Take away")
    scores, record = expected(), json.loads(offered["json"])
    (image,) = record["images"]
    assert image["score"] == pytest.approx(float(scores.scores[0]))
    assert set(image["attacks"]) == {"deepfool", "fmn"}
    assert len(image["maxima"]) == len(image["targets"]) == 9
    table_rows = list(csv.DictReader(io.StringIO(str(offered["csv"]))))
    assert [float(row["by_target"]) for row in table_rows] == pytest.approx(scores.by_target[0].tolist())


def test_the_second_order_is_refused_for_a_network_with_relus() -> None:
    at = page(clever_second="true")
    assert "second derivative is 0" in at.error[0].value
