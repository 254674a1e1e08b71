"""Nets that people train: kept, bounded, hidden from others, and never changed."""

import json
from dataclasses import replace

import pytest
import torch

import lab
from lab.experiments.attack.request import Request, python
from lab.models import trained
from lab.models.catalog import CATALOG, find_model, is_here, name_elsewhere
from lab.models.nets import build
from lab.models.trained import add_own, is_own
from lab.models.weights import save_weights
from lab.types import ModelError


@pytest.fixture(autouse=True)
def none_kept(monkeypatch):
    monkeypatch.setattr(trained, "_own", type(trained._own)())


@pytest.fixture
def card():
    return replace(CATALOG["mnist/softmax"].card(), name="My: net")


def net(seed=0):
    return build("softmax", (1, 28, 28), 10, seed=seed)


def test_an_own_net_loads_like_any_other_and_is_listed_nowhere(card):
    mine = net()
    key = add_own(card, mine)
    assert key.startswith("mnist/own-")
    model = lab.load_model(key)
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), mine(x))
    assert model.card == find_model(key).card() == replace(card, key=key)
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in model.modules())
    assert is_here(key)
    assert key not in CATALOG
    assert key not in lab.catalog()["models"]
    with pytest.raises(ModelError) as refused:
        find_model("mnist/own-of-somebody-else")
    assert "own-" not in str(refused.value).split(":", 1)[1]


def test_neither_training_on_nor_a_loaded_copy_changes_what_is_kept(card):
    mine = net()
    key = add_own(card, mine)
    x = torch.ones(1, 1, 28, 28)
    before = lab.load_model(key)(x)
    loaded = lab.load_model(key)
    with torch.no_grad():
        for p in (*mine.parameters(), *loaded.parameters()):
            p.zero_()
    assert torch.equal(lab.load_model(key)(x), before)


def test_the_same_net_under_another_name_is_another_model(card):
    first, again = add_own(card, net()), add_own(card, net())
    other = add_own(replace(card, name="My: other"), net())
    assert first == again != other
    assert find_model(first).card().name == "My: net"


def test_the_oldest_is_let_go(card, monkeypatch):
    monkeypatch.setattr(trained, "MOST_OWN", 3)
    keys = [add_own(card, net(seed)) for seed in range(3)]
    add_own(card, net(0))  # kept anew, so no longer the oldest
    keys.append(add_own(card, net(3)))
    assert [is_own(key) for key in keys] == [True, False, True, True]
    with pytest.raises(ModelError, match="there is no model"):
        lab.load_model(keys[1])


def test_a_saved_net_is_loaded_by_the_path_of_its_file(tmp_path):
    mine, told = net(), CATALOG["mnist/softmax"].card().details
    file = tmp_path / "my_net.safetensors"
    save_weights(mine, file, about={"architecture": "softmax"})
    file.with_suffix(".json").write_text(json.dumps({**told, "key": "mnist/own", "name": "Mine"}))
    model = lab.load_model(str(file))
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), mine(x))
    assert (model.card.name, model.card.task) == ("Mine", "mnist")
    with pytest.raises(ModelError, match=r"other.json is missing"):
        lab.load_model(str(tmp_path / "other.safetensors"))


def test_a_script_elsewhere_names_an_own_net_by_its_file(card):
    key = add_own(replace(card, name="My: Fast, 5 epochs (2)"), net())
    assert name_elsewhere(key) == "fast_5_epochs_2.safetensors"
    assert name_elsewhere("mnist/cnn") == "mnist/cnn"
    assert 'lab.load_model("fast_5_epochs_2.safetensors")' in python(Request(key, "mnist", "0", "fgsm"))
