"""Adversarial training live, without a browser: the view alone, and what it saves on another page."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.assets import ASSETS
from lab.models import catalog
from lab.models import trained as trained_models
from lab.models.cards import Card
from lab.models.weights import save_weights
from lab.training import session
from lab.training.fit import Epoch, fit
from lab.ui.pages.defenses.training.page import PAGE
from tests.support.pages import ROOT, settle, verdict

KEY = PAGE.key
QUERY = {KEY("net"): "Fully connected, 100-100", KEY("rule"): "FGSM half and half", KEY("epochs"): "2"}
IMAGES = KEY("images_mnist_bundled")


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MEASURED", 50)
    monkeypatch.setattr(trained_models, "_own", OrderedDict())
    monkeypatch.delenv("LAB_DATA", raising=False)


def script() -> None:
    from lab.ui.pages.defenses.training.page import PAGE

    PAGE.draw_within()


def opened() -> AppTest:
    at = AppTest.from_function(script, default_timeout=60)
    at.query_params.update(QUERY)
    at = settle(at)
    at.select_slider(key=IMAGES).set_value(200)
    return settle(at)


def trained() -> AppTest:
    at = opened()
    at.button(key=KEY("train")).click()
    return settle(at)


def lines(at: AppTest) -> dict[str, list[float]]:
    """The chart's lines by name."""
    spec = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    return {line["name"]: line["y"] for line in spec}


NAMES = {"clean": "clean", "fgsm": "under FGSM", "robust": "under PGD"}


def weights(at: AppTest) -> list[torch.Tensor]:
    (kept,) = at.session_state["_trainings"].values()
    return list(kept.net.state_dict().values())


def test_a_person_who_lands_sees_what_the_zoo_is_worth_a_recorded_run_and_nothing_trains() -> None:
    at = opened()
    card: Card = lab.load_model("mnist/cnn_pgd_at").card
    assert f"{card.accuracy:.1%}" in verdict(at)
    recorded = json.loads((ASSETS / "overview" / "training.json").read_text())["mnist"]["epochs"]
    shown = {name: [e["validation"][key] for e in recorded] for key, name in NAMES.items()}
    assert lines(at) == shown
    told = next(m.value for m in at.markdown if m.value.startswith("**Recorded"))
    assert f"**{shown['under PGD'][-1]:.0%}** under PGD" in told
    assert "_trainings" not in at.session_state
    wanted = {f"**{kind}: {what}**" for kind in ("Standard", "Robust") for what in ("attacked", "the change")}
    assert wanted <= {m.value for m in at.markdown}


def test_two_epochs_give_two_points_a_line_and_the_verdict_tells_the_last() -> None:
    at = trained()
    found = lines(at)
    assert {name: len(y) for name, y in found.items()} == {"clean": 2, "under FGSM": 2, "under PGD": 2}
    (kept,) = at.session_state["_trainings"].values()
    assert found["under PGD"] == [e.validation["robust"] for e in kept.epochs]
    assert f"**{found['clean'][1]:.0%}** of held-out images correctly" in verdict(at)
    assert f"**{found['under PGD'][1]:.0%}** under PGD" in verdict(at)
    assert any("the first 200 of the 8,000 bundled digits" in c.value for c in at.caption)


def test_a_stopped_training_resumes_to_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained()

    def one(*args: Any, **kwargs: Any) -> Iterator[Epoch]:
        return islice(fit(*args, **kwargs), 1)

    monkeypatch.setattr(session, "fit", one)
    at = trained()
    assert "Stopped after epoch 1 of 2" in verdict(at)
    assert len(lines(at)["clean"]) == 1
    monkeypatch.setattr(session, "fit", fit)
    at.button(key=KEY("resume")).click()
    at = settle(at)
    assert lines(at) == lines(whole)
    assert all(torch.equal(a, b) for a, b in zip(weights(at), weights(whole), strict=True))
    assert not any(b.key == KEY("resume") for b in at.button)


def test_a_saved_net_can_be_picked_in_this_session_and_in_no_other() -> None:
    at = trained()
    at.text_input(key=KEY("name")).set_value("first *try*")
    at.button(key=KEY("save")).click()
    at = settle(at)
    (key,) = at.session_state["_own"]
    card = catalog.find_model(key).card()
    assert card.name == "My: first try"
    assert any("Saved as **My: first try**" in s.value for s in at.success)
    assert at.session_state["model"] == key, "the pages of the links look at it"
    assert at.session_state["robustness_models_mnist"] == [key]
    assert {m.value for m in at.markdown} >= {"Attack it", "Measure its robustness"}  # links, where app.py is there
    assert card.robust[0].eps == pytest.approx(0.3)
    model = lab.load_model(key)
    assert all(torch.equal(a, b.to(a)) for a, b in zip(weights(at), model.net.state_dict().values(), strict=True))

    other = AppTest.from_file(ROOT / "app.py", default_timeout=60)
    other.query_params["model"] = "My: first try, MNIST"
    other.switch_page("pages/attack.py").run()
    assert "model “My: first try, MNIST”" in other.warning[0].value
    assert not any(o.startswith("My: ") for o in other.selectbox(key="model").options)
    assert other.selectbox(key="model").value == "imagenet/efficientnet_lite0"

    mine = AppTest.from_file(ROOT / "app.py", default_timeout=60)
    mine.session_state["_own"] = {key: "My: first try", "mnist/own-let-go": "My: another"}
    mine.query_params["model"] = "My: first try, MNIST"
    mine = settle(mine.switch_page("pages/attack.py").run())
    assert [o for o in mine.selectbox(key="model").options if o.startswith("My: ")] == ["My: first try, MNIST"]
    assert mine.selectbox(key="model").value == key
    assert verdict(mine).startswith("### My: first try ")


def test_the_files_of_a_saved_net_load_again(tmp_path: Path) -> None:
    at = trained()
    at.button(key=KEY("save")).click()
    at = settle(at)
    (key,) = at.session_state["_own"]
    card = catalog.find_model(key).card()
    (kept,) = at.session_state["_trainings"].values()
    save_weights(kept.net, tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text(json.dumps(card.details))
    again = catalog.load_shipped(tmp_path / "mine.safetensors")
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(again(x), lab.load_model(key)(x))


def test_catastrophic_overfitting_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def collapsed(*args: Any, **kwargs: Any) -> Iterator[Epoch]:
        found = {"clean": 0.9, "fgsm": 0.8, "robust": 0.1}
        for epoch in fit(*args, **kwargs):
            yield Epoch(**{**epoch.__dict__, "validation": found})

    monkeypatch.setattr(session, "fit", collapsed)
    at = trained()
    assert "After epoch 2 the net classifies 80% correctly under FGSM, 10% under PGD" in at.warning[0].value


def test_the_presets_set_the_rule_and_train(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def none(net: Any, data: Any, rule: Any, **kwargs: Any) -> Iterator[Epoch]:
        asked.append(rule)
        return iter(())

    monkeypatch.setattr(session, "fit", none)
    at = opened()
    for k in range(2):
        at.button(key=KEY(f"preset_{k}")).click()
        at = settle(at)
    assert len(asked) == 2
    assert "Stopped before the first epoch was done" in verdict(at)
