"""The Capsules page, without a browser."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.defenses.detect import Reconstruction, capsules_of, scores
from lab.experiments.capsules.rivals import TRANSFER, VOTE, WHITE, WORST, Rivals, compare, worst_of
from lab.experiments.defenses.attackers import Attackers, Detection, detected
from lab.ui.pages.capsules import detector, robust
from lab.ui.pages.capsules.page import PAGE
from tests.support.pages import open_page, settle, table, verdict

EPS, STEPS = 0.3, 3


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "SLOW", 1)
    monkeypatch.setattr(robust, "SIZES", 3)


def page(**query: str) -> AppTest:
    return open_page("capsules", **{PAGE.key("count"): "20", PAGE.key("steps"): str(STEPS), **query})


def tab(at: AppTest, name: str) -> AppTest:
    at.session_state[PAGE.key("tabs")] = name
    return settle(at)


def detection(rate: float = 0.05) -> Detection:
    data = lab.load_data("mnist")
    clean, one = data.rows(slice(1000, 2000)), data.rows([0])
    model = lab.load_model("mnist/capsnet")
    return next(detected(Reconstruction(), model, clean.x, one.x, one.y, Attackers("fgsm", {}), rate=rate))


def figure(at: AppTest, axis: str, place: int = 0) -> dict[str, Any]:
    """The chart with this title at its first x axis."""
    specs = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    return [s for s in specs if s["layout"].get("xaxis", {}).get("title", {}).get("text") == axis][place]


def values(told: Any) -> list[float]:
    """Numbers of a trace, which may come as plain numbers or packed."""
    if isinstance(told, dict):
        return np.frombuffer(base64.b64decode(told["bdata"]), told["dtype"]).astype(float).tolist()
    return [float(v) for v in told]


def test_the_verdict_and_the_bars_are_what_the_network_says(device: torch.device) -> None:
    at, model, image = page(capsules_image_mnist="7"), lab.load_model("mnist/capsnet"), lab.load_data("mnist").rows([7])
    made = lab.attack("bim", model, image.x, model(image.x).argmax(1), eps=EPS, steps=STEPS)
    both = torch.cat([image.x, made.x])
    lengths = capsules_of(model).explore(both.to(device)).lengths.cpu()
    length, seen = lengths.max(1)
    far = float(scores(Reconstruction(), model, made.x))
    limit, said = detection().limit, verdict(at)
    now = "still" if seen[0] == seen[1] else "now"
    assert f"network {now} sees **{int(seen[1])}**" in said
    assert f"{length[0]:.2f}" in said
    assert f"{length[1]:.2f}" in said
    assert f"it is {far:.2f} from the image" in said
    assert f"threshold of {limit:.2f}" in said
    assert ("**gives the attack away**" in said) == (far > limit)
    bars = figure(at, "class capsule")["data"]
    for bar, expected in zip(bars, lengths, strict=True):
        assert values(bar["y"]) == pytest.approx(expected.tolist(), abs=1e-3)


def test_the_rate_of_false_alarms_sets_the_threshold() -> None:
    assert f"threshold of {detection(0.2).limit:.2f}" in verdict(page(capsules_rate="20%"))
    assert detection(0.2).limit < detection(0.05).limit


def test_the_routing_can_be_stepped_without_the_script(device: torch.device) -> None:
    at = page()
    model, image = lab.load_model("mnist/capsnet"), lab.load_data("mnist").rows([0])
    shares = capsules_of(model).explore(image.x.to(device)).routing
    spec = next(s for s in (json.loads(c.proto.spec) for c in at.get("plotly_chart")) if s.get("frames"))
    assert [f["name"] for f in spec["frames"]] == ["1", "2", "3"]
    assert [s["label"] for s in spec["layout"]["sliders"][0]["steps"]] == ["1", "2", "3"]
    for frame, expected in zip(spec["frames"], shares, strict=True):
        assert np.asarray(frame["data"][0]["z"]) == pytest.approx(100 * expected[0].T.cpu().numpy(), abs=0.01)


def test_a_turned_dimension_changes_the_drawing_and_reset_brings_it_back() -> None:
    at = tab(page(), "Turn a capsule")

    def told(at: AppTest) -> str:
        return next(c.value for c in at.caption if c.value.startswith("**Turned**"))

    before = told(at)
    assert before.endswith("moved by 0.00")
    at.slider(key=PAGE.key("turn_2")).set_value(0.5)
    at = settle(at)
    assert not told(at).endswith("moved by 0.00")
    at.button(key=PAGE.key("turn_reset")).click()
    at = settle(at)
    assert told(at) == before


@pytest.mark.parametrize("rival", ["mnist/cnn", "mnist/mlp"])
def test_both_networks_under_every_attack_are_shown_as_measured(rival: str) -> None:
    names = ("mnist/capsnet", rival)
    first, second = (lab.load_model(name) for name in names)
    at = tab(page(capsules_rival_mnist=second.card.name), "More robust?")
    data = lab.load_data("mnist").rows(slice(0, 20))
    rivals = Rivals(first, second, capsules_of(first), names)
    *_, found = compare(rivals, data.x, data.y, [0, EPS / 2, EPS], steps=STEPS)
    all_of_it = [*found, *(worst_of(found, name) for name in names)]
    for place, kind in enumerate((*WHITE, VOTE, TRANSFER, WORST)):
        lines = figure(at, "epsilon (n/255)", place)["data"]
        expected = [o for o in all_of_it if o.attack == kind]
        assert [values(line["y"]) for line in lines] == [pytest.approx([p.accuracy for p in o.curve]) for o in expected]
    said = next(m.value for m in at.markdown if m.value.startswith("#### Under FGSM"))
    gaps = [(a.accuracy - b.accuracy, a, b) for a, b in zip(found[0].curve[1:], found[1].curve[1:], strict=True)]
    _, a, b = max(gaps, key=lambda g: g[0])
    assert f"still classifies **{a.accuracy:.0%}** correctly, *{second.card.name}* {b.accuracy:.0%}" in said


def test_the_detector_is_told_with_the_attacker_who_knows_it() -> None:
    at = tab(page(), "Detector")
    model, data = lab.load_model("mnist/capsnet"), lab.load_data("mnist")
    clean, part = data.rows(slice(1000, 2000)), data.rows(slice(0, 20))
    attackers = Attackers("pgd", {"eps": EPS, "steps": STEPS})
    *_, report = detected(Reconstruction(), model, clean.x, part.x, part.y, attackers)
    shown = table(at, "wrong and undetected").set_index("attack")
    assert list(shown.index) == ["FGSM", "BIM (I-FGSM)", "PGD", "Reconstructive PGD", "Carlini-Wagner (L2)"]
    for name, attacker in (("PGD", "oblivious"), ("Reconstructive PGD", "adaptive")):
        trial = report.trial(attacker)
        fooled = trial.seen != report.y
        assert shown["fools"][name] == pytest.approx(float(fooled.double().mean()), abs=0.006)
        passed = float((fooled & ~trial.flagged).double().mean())
        assert shown["wrong and undetected"][name] == pytest.approx(passed, abs=0.006)
    assert shown["images"].tolist() == [20, 20, 20, 20, 1]
    told = " ".join(c.value for c in at.caption)
    assert f"of 500 others it flags {report.false:.1%}" in told


def test_it_works_on_fashion_too() -> None:
    at = page(capsules_task="Fashion-MNIST")
    assert "Its drawing" in verdict(at)
    told = next(m.value for m in tab(at, "How it works").markdown if m.value.startswith("**Squash.**"))
    assert told.count("$$") == 2 * 5
    assert "{" not in re.sub(r"\$.*?\$", "", told.replace("$$", "$"), flags=re.DOTALL)


def test_an_old_link_restores_the_same_settings() -> None:
    at = page(c_image_mnist="7", c_attack="FGSM", c_rate="20%")
    assert at.number_input(key=PAGE.key("image_mnist")).value == 7
    assert at.selectbox(key=PAGE.key("attack")).value == "fgsm"
    assert at.select_slider(key=PAGE.key("rate")).value == 20
