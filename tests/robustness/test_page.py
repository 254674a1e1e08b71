"""The Robustness page, without a browser."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

import lab
from lab.experiments.robustness.curves import Outcome, evaluate
from lab.ui.pages.robustness import believed, setup
from tests.support.pages import open_page, settle, table, verdict

KEYS = ("mnist/mlp", "mnist/cnn_fgsm_at")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(setup.MODELS, "mnist", ("mlp", "cnn_fgsm_at"))
    monkeypatch.setattr(believed, "CHECKED", 10)


def page(**query: str) -> AppTest:
    return open_page(
        "robustness", **{"robustness_count": "20", "robustness_steps": "5", "robustness_sizes": "3", **query}
    )


def tab(at: AppTest, name: str) -> AppTest:
    at.session_state["robustness_tabs"] = name
    return settle(at)


def expected() -> tuple[Outcome, ...]:
    data = lab.load_data("mnist").rows(slice(0, 20))
    loaded = {key: lab.load_model(key) for key in KEYS}
    *_, found = evaluate(loaded, ["fgsm", "pgd"], data.x, data.y, [0, 0.15, 0.3], steps=5)
    return found


def fgsm_alone() -> AppTest:
    """The page with the one attack that a net trained on FGSM's images stands."""
    return page(robustness_attacks_linf="FGSM")


def test_the_curves_are_what_the_package_measures() -> None:
    at, found = page(), expected()
    lines = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    assert [line["y"] for line in lines] == [[p.accuracy for p in o.curve] for o in found]
    assert [line["x"] for line in lines] == [pytest.approx([0, 38.25, 76.5])] * 4


def test_a_model_that_seems_robust_is_named_beside_what_autoattack_leaves() -> None:
    at = fgsm_alone()
    kept = next(o for o in expected() if (o.model, o.attack) == (KEYS[1], "fgsm")).at(0.3).accuracy
    assert kept > 0.9
    name = lab.load_model(KEYS[1]).card.name
    assert f"*{name}* still classifies **{kept:.0%}** correctly" in verdict(at)
    assert f"*{name}* keeps {kept:.0%} here and 0% under AutoAttack" in verdict(at)
    assert "Fully connected net, 100-100* still classifies **0%** correctly" in verdict(at)


def test_the_model_that_looks_best_is_questioned_first() -> None:
    at = fgsm_alone()
    assert at.selectbox(key="robustness_checked").value == KEYS[1]
    data = lab.load_data("mnist").rows(slice(0, 10))
    told = " ".join(m.value for m in at.markdown)
    for one in lab.check(lab.load_model(KEYS[1]), data.x, data.y, 0.15, source=lab.load_model("mnist/mlp")):
        mark = ":green[:material/check_circle:]" if one.passed else ":red[:material/cancel:]"
        assert f"{mark} **{one.question}** {one.said}" in told
    assert table(at, "gradients")["gradients"].tolist() == ["NaN or infinite", "zero", "different at the second look"]


def test_the_leaderboard_is_that_of_the_cards_best_first() -> None:
    at = tab(page(), "Leaderboard")
    shown = table(at, "AutoAttack")
    cards = [lab.load_model(key).card for key in lab.catalog()["models"] if key.startswith("mnist/")]
    assert len(shown) == len(cards)
    measured = {
        c.name: min(r.accuracy for r in c.robust if r.attack == "autoattack" and abs(r.eps - 0.3) < 1e-9) for c in cards
    }
    assert shown["AutoAttack"][0] == max(measured.values())
    assert dict(zip(shown["model"], shown["AutoAttack"], strict=True)).items() >= measured.items()
    assert shown["AutoAttack"].dropna().is_monotonic_decreasing


def test_every_image_has_its_distances_and_the_files_hold_them() -> None:
    at, found = tab(page(), "Image by image"), expected()
    at.selectbox(key="robustness_table_model").select(KEYS[0])
    at = settle(at)
    shown = table(at, "first broken by")
    assert len(shown) == 20
    pgd = next(o for o in found if (o.model, o.attack) == (KEYS[0], "pgd"))
    assert shown["PGD"].fillna(-1).tolist() == pytest.approx(
        [255 * d if d < 9 else -1 for d in pgd.distance.tolist()], rel=1e-3
    )
    at = tab(at, "Take away")
    command = next(c.value for c in at.code if c.value.startswith("python -m lab evaluate"))
    assert "--models mnist/mlp,mnist/cnn_fgsm_at --attacks fgsm,pgd --eps 0,0.15,0.3 --norm linf" in command


def test_nothing_chosen_is_told() -> None:
    at = page()
    at.multiselect(key="robustness_attacks_linf").set_value([])
    at = settle(at)
    assert "Choose at least one model and one attack" in at.error[0].value
