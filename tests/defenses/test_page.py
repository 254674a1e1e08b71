"""The Defenses page, without a browser; its view of adversarial training has a file of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.defenses.catalog import DETECTORS
from lab.defenses.smoothing import certify
from lab.experiments.defenses.attackers import Attackers, transformed
from lab.experiments.defenses.leaderboard import accuracies
from lab.ui.pages.defenses.guards import believed
from lab.ui.pages.defenses.guards.page import PAGE as GUARDS
from lab.ui.pages.defenses.leaderboard import PAGE as LEADERBOARD
from lab.ui.pages.defenses.smoothing import PAGE as SMOOTHING
from lab.ui.shell.page import Page
from tests.support.pages import open_page, settle, table, verdict

FEW = {GUARDS.key("count_mnist"): "20", GUARDS.key("steps_mnist"): "10"}


def guards(**query: str) -> AppTest:
    """The view of transformations and detectors, with settings by the names of their widgets."""
    return open_page("defenses", **FEW, **{GUARDS.key(name): value for name, value in query.items()})


def view(page: Page[Any, Any], **query: str) -> AppTest:
    """Another view, with settings by the names of their widgets."""
    return open_page("defenses", defenses_view=page.title, **{page.key(name): v for name, v in query.items()})


def tab(at: AppTest, page: Page[Any, Any], name: str) -> AppTest:
    at.session_state[page.key("tabs")] = name
    return settle(at)


def captions(at: AppTest) -> str:
    return " ".join(c.value for c in at.caption)


def test_the_verdict_and_the_bars_are_what_the_package_measures() -> None:
    at, data = guards(), lab.load_data("mnist").rows(slice(0, 20))
    attackers = Attackers("pgd", {"eps": 0.45, "steps": 10})
    *_, found = transformed("bit_depth", lab.load_model("mnist/cnn"), data.x, data.y, attackers)
    kept = [t.accuracy(data.y) for t in found]
    bars = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    behind = next(b for b in bars if b.get("name") == "behind it")
    without = next(b for b in bars if b.get("name") == "without the defense")
    assert behind["y"] == kept
    assert without["y"] == [t.undefended(data.y) for t in found[:2]]
    assert f"With bit depth, the model classifies **{kept[1]:.0%}** of the images correctly" in verdict(at)
    assert "correctly under PGD at 114.75/255" in verdict(at)
    assert f"**{kept[2]:.0%}** when they simply follow its gradient" in verdict(at)
    assert f"**{kept[-1]:.0%}** under the best attack on each" in verdict(at)
    assert kept[-1] < min(kept[1:3])


def test_one_image_is_shown_under_every_attacker_and_the_table_has_all() -> None:
    at = guards(image="3")
    titles = [m.value for m in at.markdown]
    for title in ("**Clean**", "**Unaware attacker**", "**Naive attacker**", "**Aware attacker**"):
        assert title in titles
    assert titles.count("**Behind it**") == 4
    shown = table(at, "aware")
    assert shown["no attack"].tolist() == shown["class"].tolist()
    assert len(shown) == 20


@pytest.mark.parametrize("name", [spec.name for spec in DETECTORS.values()])
def test_a_detector_shows_its_threshold_its_roc_curve_and_what_gets_past(name: str) -> None:
    at = guards(defense_mnist=name)
    assert "rejects **" in verdict(at)
    assert "An attacker who knows it gets **" in verdict(at)
    assert "other clean images are rejected" in verdict(at)
    assert ": rejected" in captions(at) or ": accepted" in captions(at)
    names = [[line.get("name", "") for line in json.loads(c.proto.spec)["data"]] for c in at.get("plotly_chart")]
    assert any("unaware attacker: area" in n for each in names for n in each)


def test_distillation_falls_once_the_temperature_is_known() -> None:
    at = guards(defense_mnist="Defensive distillation", eps_mnist="51")
    bars = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    _, _, naive, adaptive, _ = next(b for b in bars if b.get("name") == "behind it")["y"]
    assert naive >= 0.8
    assert adaptive <= 0.1


def test_the_naive_figure_is_found_out_by_the_sanity_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(believed, "CHECKED", 10)
    at = guards(model_mnist_False="Fully connected net, 100-100")
    told = " ".join(m.value for m in tab(at, GUARDS, "Can it be believed?").markdown)
    assert ":red[:material/cancel:] **Do the gradients tell anything?**" in told
    assert ":red[:material/cancel:] **Is white box at least as strong as black box and transfer?**" in told


def test_the_results_can_be_taken_away_with_a_link() -> None:
    at = tab(guards(), GUARDS, "Take away")
    assert [b.label for b in at.get("download_button")] == ["Table (.csv)", "Everything (.json)"]
    assert any("guards_count_mnist=20" in c.value for c in at.code)


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        ("Bit depth", "takes the identity instead (BPDA"),
        ("Feature squeezing", "softmax"),
        ("Defensive distillation", "divided by a temperature"),
    ],
)
def test_every_kind_of_defense_says_how_it_works(defense: str, said: str) -> None:
    at = tab(guards(defense_mnist=defense), GUARDS, "How it works")
    assert any(said in m.value and "lab/defenses/" in m.value for m in at.markdown)


def test_an_old_link_restores_the_same_settings() -> None:
    at = open_page("defenses", d_count_mnist="20", d_steps_mnist="10", d_attack="FGSM", d_seed="3", d_median_size="5")
    assert "under FGSM at 114.75/255 when" in verdict(at)
    assert (at.selectbox(key=GUARDS.key("attack")).value, at.number_input(key=GUARDS.key("seed")).value) == ("fgsm", 3)
    at = open_page("defenses", d_view="All models", z_count="20", z_source_mnist="Softmax regression")
    assert at.select_slider(key=LEADERBOARD.key("count")).value == 20
    assert at.selectbox(key=LEADERBOARD.key("source_mnist")).value == "mnist/softmax"


def test_certificates_are_those_of_the_package() -> None:
    at = view(SMOOTHING, count="10", looks="200")
    data = lab.load_data("mnist").rows(slice(0, 10))
    found = certify(lab.load_model("mnist/cnn_noise"), data.x, sigma=0.5, n=200)
    assert f"is certain to classify **{found.accuracy(data.y, 0.5):.0%}** of these 10 images" in verdict(at)
    shown = table(at, "share, at least")
    assert len(shown) == 20  # two models
    assert torch.allclose(torch.tensor(shown["radius"][:10].tolist()), found.radius.float(), atol=1e-5)
    lines = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    certain, attacked = lines[0]["y"], next(line for line in lines if line["name"].startswith("under attack"))
    assert certain[0] <= 1
    assert all(a >= found.accuracy(data.y, r) for r, a in zip(attacked["x"], attacked["y"], strict=True))


def test_all_models_stand_beside_one_another_clean_accuracy_first() -> None:
    at = view(LEADERBOARD, count="20")
    shown = table(at, "AutoAttack")
    assert list(shown.columns) == ["Model", "Clean", "FGSM", "PGD-40", "Transfer", "AutoAttack"]
    keys = [key for key in lab.catalog()["models"] if key.startswith("mnist/")]
    assert len(shown) == len(keys)
    data = lab.load_data("mnist").rows(slice(0, 20))
    row = shown[shown["Model"] == lab.load_model("mnist/cnn_fgsm_at").card.name].iloc[0]
    found = accuracies(lab.load_model("mnist/cnn_fgsm_at"), data.x, data.y, 0.3)
    assert (row["Clean"], row["FGSM"], row["PGD-40"]) == (found["clean"], found["fgsm"], found["pgd"])
    assert shown["AutoAttack"].is_monotonic_decreasing
    assert "Convolutional net, trained with TRADES** (92%)" in verdict(at)
    assert "none of the others keeps more than" in verdict(at)


def test_both_pages_tell_one_autoattack_figure() -> None:
    zoo = table(view(LEADERBOARD, count="20"), "AutoAttack")
    board = open_page("robustness", robustness_count="20", robustness_steps="2", robustness_sizes="3")
    board.session_state["robustness_tabs"] = "Leaderboard"
    told = table(settle(board), "AutoAttack")
    both = zoo.merge(told, left_on="Model", right_on="model")
    assert len(both) == len(zoo)
    assert both["AutoAttack_x"].tolist() == both["AutoAttack_y"].tolist()


def test_photographs_are_defended_too() -> None:
    at = guards(task="ImageNet", count_imagenet="4", steps_imagenet="2")
    assert "With JPEG, the model classifies **" in verdict(at)
