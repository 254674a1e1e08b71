"""The Representations page, without a browser."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.experiments.attack.request import Request
from lab.experiments.attack.run import AttackRun, run_attack
from lab.experiments.representations import sample
from lab.experiments.representations.activations import activations, depth, features
from lab.experiments.representations.lipschitz import bound, operator_norms
from lab.experiments.representations.representation import Representation
from lab.ui.pages.representations.profile import growth
from tests.support.pages import MNIST, open_page, settle, verdict


def page(**query: str) -> AppTest:
    given = {"model": MNIST["model"], "representations_attack": MNIST["attack"], "representations_eps": "52/255"}
    return open_page("representations", **{**given, **query})


def tab(at: AppTest, name: str) -> AppTest:
    at.session_state["representations_tabs"] = name
    return settle(at)


def texts(at: AppTest) -> str:
    return " ".join(m.value for m in [*at.markdown, *at.caption])


def attacked() -> tuple[lab.models.cards.Classifier, lab.data.Images, lab.Result]:
    model, data = lab.load_model("mnist/cnn"), lab.load_data("mnist").rows([0])
    return model, data, lab.attack("bim", model, data.x, data.y, eps="52/255")


def test_a_link_restores_the_attack_and_the_profile_is_that_of_the_package() -> None:
    at = page()
    model, data, result = attacked()
    assert f"({result.confidence[0]:.0%})" in verdict(at)
    found = depth(model, data.x, result.x)
    assert f"differ by **{found.at_input:.2%}**" in texts(at)
    assert f"by **{found.attack[-1]:.0%}** under the attack" in texts(at)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Feature maps", "maps that the attack changes most"),
        ("Units and directions", "share their commonest class"),
        ("Attribution", "what speaks for"),
        ("Instability", "the norms of all layers (here 5)"),
        ("Embedding", "Every dot is a picture"),
        ("Take away", "from lab.experiments.representations.activations import depth"),
    ],
)
def test_every_tab_shows_its_result(name: str, told: str) -> None:
    at = tab(page(), name)
    assert not at.error
    assert told in texts(at) + " ".join(c.value for c in at.code)


def test_a_photograph_is_set_beside_crops_of_photographs() -> None:
    at = tab(
        open_page("representations", image="Tabby cat", representations_attack="FGSM", representations_eps="2/255"),
        "Units and directions",
    )
    assert not at.error
    assert "12 random crops of each of 21 photographs" in texts(at)
    assert len(re.findall(r"\d of 8 share their commonest class", texts(at))) == 2
    at = tab(at, "Embedding")
    assert "12 random crops of each of 21 photographs" in texts(at)
    (figure,) = at.get("plotly_chart")
    dots = json.loads(figure.proto.spec)["data"][0]
    assert len(dots["customdata"]) == 252


def test_the_set_is_shown_to_the_network_once_whatever_the_stage_and_the_attack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = tab(page(), "Embedding")
    calls: list[object] = []
    monkeypatch.setattr(sample, "load_data", lambda *a, **k: calls.append(a))
    at.selectbox(key="representations_plane_stage").select("net.0").run()
    at = settle(at)
    at = tab(at, "Units and directions")
    at.selectbox(key="attack").select("fgsm").run()
    at.button(key="run").click().run()
    at = settle(at)
    assert not at.error
    assert calls == []


def test_a_stage_and_a_unit_can_be_chosen() -> None:
    at = tab(page(), "Feature maps")
    at.selectbox(key="representations_map_stage").select("net.0").run()
    at = settle(at)
    assert "of 32 maps" in texts(at)
    at = tab(at, "Units and directions")
    before = [m.value for m in at.markdown if "excite the unit" in m.value]
    units = at.selectbox(key="representations_unit")
    first, second, *_ = units.options
    assert units.value == int(first.split()[1])
    units.set_value(int(second.split()[1])).run()
    assert before
    told = texts(settle(at))
    assert f"{second.capitalize()} answers" in told
    assert f"{first.capitalize()} answers" not in told


def test_a_network_without_maps_says_so() -> None:
    at = tab(page(model="Fully connected net, 100-100, MNIST"), "Feature maps")
    assert any("no stage with feature maps" in i.value for i in at.info)
    at = tab(at, "Attribution")
    assert not at.error


def test_the_bound_told_is_that_of_the_package() -> None:
    at = tab(page(), "Instability")
    model, data, _ = attacked()
    value = float(f"{bound(operator_norms(model, data.x)):.3g}")
    assert f"**{value:,.10g}**" in texts(at)


@pytest.mark.parametrize(
    ("attack", "noise", "told"),
    [
        (80.0, 8.3, "makes the attack **80 times** larger on its way, and makes noise **8.3 times** larger"),
        (1.1, 0.9, "leaves the attack as large as it is on its way, and leaves noise as large as it is"),
        (0.5, 1.0, "makes the attack **2 times** smaller on its way"),
    ],
)
def test_growth_is_told_where_there_is_any(attack: float, noise: float, told: str) -> None:
    assert told in growth(attack, noise)


def test_the_features_can_be_taken_away(run: AttackRun) -> None:
    model = lab.load_model("mnist/cnn")
    result = Representation(run, depth(model, run.clean, run.attacked))
    both = torch.cat([run.clean, run.attacked])
    with np.load(io.BytesIO(result.arrays(model, "net.0")), allow_pickle=False) as kept:
        units = features(model, both)["net.0"]
        assert (kept["units/net.0"] == units.numpy()).all()
        order = kept["ranking/net.0"]
        change = np.abs(kept["units/net.0"][1] - kept["units/net.0"][0])[order]
        assert (np.diff(change) <= 0).all()
        assert (kept["maps/net.0"] == activations(model, both, ["net.0"])["net.0"].numpy()).all()
        assert kept["attribution/Grad-CAM"].shape == (2, 28, 28)
        assert (kept["pictures"] == both.numpy()).all()


@pytest.fixture
def run() -> AttackRun:
    data, model = lab.load_data("mnist").rows([4]), lab.load_model("mnist/cnn")
    request = Request("mnist/cnn", "mnist", "4", "fgsm", {"eps": 0.3})
    return run_attack(request, model, data.x, model.card.classes)


def test_the_maps_of_an_iteration_are_those_of_its_picture() -> None:
    at = tab(page(), "Feature maps")
    model, data, _ = attacked()
    traced = lab.attack("bim", model, data.x, data.y, eps="52/255", trace=16)
    steps = [frame.step for frame in traced.frames if len(frame.x)]
    slider = at.select_slider(key="_maps_moment")
    assert slider.value is None
    assert slider.options == [f"{step:,}" for step in steps[:-1]] + ["the result"]
    chosen = steps[2]
    slider.set_value(chosen)
    settle(at)
    name, channel = (
        at.selectbox(key="representations_map_stage").value,
        at.selectbox(key="representations_channel").value,
    )
    pictures = torch.cat([data.x, next(f.x for f in traced.frames if f.step == chosen)])
    clean, now = activations(model, pictures, [name])[name][:, channel]
    share = float((now - clean).norm() / clean.norm())
    assert f"By iteration {chosen} the attack has changed map {channel} by **{share:.0%}**" in texts(at)
