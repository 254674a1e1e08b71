"""The Defenses page, without a browser; its view of adversarial training has a file of its own."""

from __future__ import annotations

import json

import pytest
import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.defenses.catalog import DETECTORS
from lab.defenses.smoothing import certify
from lab.experiments.defenses.attackers import Attackers, transformed
from lab.experiments.defenses.leaderboard import accuracies
from lab.ui.pages.defenses import guards
from tests.support.pages import open_page, settle, table, verdict

FEW = {"d_count_mnist": "20", "d_steps_mnist": "10"}


def page(**query: str) -> AppTest:
    return open_page("defenses", **{**FEW, **query})


def tab(at: AppTest, key: str, name: str) -> AppTest:
    at.session_state[key] = name
    return settle(at)


def captions(at: AppTest) -> str:
    return " ".join(c.value for c in at.caption)


def test_the_verdict_and_the_bars_are_what_the_package_measures() -> None:
    at, data = page(), lab.load_data("mnist").rows(slice(0, 20))
    attackers = Attackers("pgd", {"eps": 0.4, "steps": 10, "alpha": 0.1})
    *_, found = transformed("bit_depth", lab.load_model("mnist/cnn"), data.x, data.y, attackers)
    kept = [t.accuracy(data.y) for t in found]
    bars = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    behind = next(b for b in bars if b.get("name") == "behind it")
    without = next(b for b in bars if b.get("name") == "without the defense")
    assert behind["y"] == kept
    assert without["y"] == [t.undefended(data.y) for t in found[:2]]
    assert f"PGD at 102/255 leaves **{kept[1]:.0%}** of the images" in verdict(at)
    assert f"**{kept[2]:.0%}** if they follow its gradient" in verdict(at)
    assert f"**{kept[-1]:.0%}** under the best attack on each" in verdict(at)
    assert kept[-1] < min(kept[1:3])


def test_one_image_is_shown_under_every_attacker_and_the_table_has_all() -> None:
    at = page(d_image="3")
    titles = [m.value for m in at.markdown]
    for title in ("**Clean**", "**Unaware attacker**", "**Naive attacker**", "**Aware attacker**"):
        assert title in titles
    assert titles.count("**Behind it**") == 4
    shown = table(at, "aware")
    assert shown["no attack"].tolist() == shown["class"].tolist()
    assert len(shown) == 20


@pytest.mark.parametrize("name", [spec.name for spec in DETECTORS.values()])
def test_a_detector_shows_its_threshold_its_roc_curve_and_what_gets_past(name: str) -> None:
    at = page(d_defense_mnist=name)
    assert "rejects **" in verdict(at)
    assert "An attacker who knows it brings **" in verdict(at)
    assert "% of clean images rejected" in verdict(at)
    assert ": rejected" in captions(at) or ": let in" in captions(at)
    names = [[line.get("name", "") for line in json.loads(c.proto.spec)["data"]] for c in at.get("plotly_chart")]
    assert any("unaware attacker: area" in n for each in names for n in each)


def test_distillation_falls_once_the_temperature_is_known() -> None:
    at = page(d_defense_mnist="Defensive distillation", d_eps_mnist="51")
    bars = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    _, _, naive, adaptive, _ = next(b for b in bars if b.get("name") == "behind it")["y"]
    assert naive >= 0.8
    assert adaptive <= 0.1


def test_the_naive_figure_is_found_out_by_the_sanity_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "CHECKED", 10)
    at = page(d_model_mnist_False="Fully connected net, 100-100")
    told = " ".join(m.value for m in tab(at, "guard_tabs", "Can it be believed?").markdown)
    assert ":red[:material/cancel:] **Do the gradients tell anything?**" in told
    assert ":red[:material/cancel:] **Is white box at least as strong as black box and transfer?**" in told


def test_the_results_can_be_taken_away_with_a_link() -> None:
    at = tab(page(), "guard_tabs", "Take away")
    assert [b.label for b in at.get("download_button")] == ["Images (.csv)", "Everything (.json)"]
    assert any("d_count_mnist=20" in c.value for c in at.code)


def test_certificates_are_those_of_the_package() -> None:
    at = open_page("defenses", d_view="Randomized smoothing", g_count="10", g_looks="200")
    data = lab.load_data("mnist").rows(slice(0, 10))
    found = certify(lab.load_model("mnist/cnn_noise"), data.x, sigma=0.5, n=200)
    assert f"is certain to class **{found.accuracy(data.y, 0.5):.0%}** of these 10 images" in verdict(at)
    shown = table(at, "share, at least")
    assert len(shown) == 20  # two models
    assert torch.allclose(torch.tensor(shown["radius"][:10].tolist()), found.radius.float(), atol=1e-5)
    lines = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    certain, attacked = lines[0]["y"], next(line for line in lines if line["name"].startswith("under attack"))
    assert certain[0] <= 1
    assert all(a >= found.accuracy(data.y, r) for r, a in zip(attacked["x"], attacked["y"], strict=True))


def test_all_models_stand_beside_one_another_clean_accuracy_first() -> None:
    at = open_page("defenses", d_view="All models", z_count="20")
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
    assert "of the others none keeps more than" in verdict(at)


def test_both_pages_tell_one_autoattack_figure() -> None:
    zoo = table(open_page("defenses", d_view="All models", z_count="20"), "AutoAttack")
    board = open_page("robustness", s_count="20", s_steps="2", s_sizes="3")
    board.session_state["robustness_tabs"] = "Leaderboard"
    told = table(settle(board), "AutoAttack")
    both = zoo.merge(told, left_on="Model", right_on="model")
    assert len(both) == len(zoo)
    assert both["AutoAttack_x"].tolist() == both["AutoAttack_y"].tolist()


def test_photographs_are_defended_too() -> None:
    at = open_page("defenses", d_task="ImageNet", d_count_imagenet="4", d_steps_imagenet="2")
    assert "Behind JPEG" in verdict(at)
