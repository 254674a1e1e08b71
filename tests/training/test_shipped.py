"""The shipped weights: every file loads into the net of its recipe, and its card tells the truth about it."""

import json

import numpy as np
import pytest
import torch

from lab.assets import ASSETS
from lab.images import from_bytes
from lab.models.nets import build, count_parameters
from lab.models.weights import load_into
from lab.training.fit import accuracy
from lab.training.recipe import load_recipe

DATASETS = ASSETS / "datasets"
WEIGHTS = ASSETS / "weights"
KEYS = sorted(str(p.relative_to(WEIGHTS).with_suffix("")) for p in WEIGHTS.glob("*/*.safetensors"))


def card_of(key):
    return json.loads((WEIGHTS / f"{key}.json").read_text())


def net_of(key):
    card = card_of(key)
    net = build(card["architecture"], tuple(card["input_shape"]), len(card["classes"]))
    return load_into(net, WEIGHTS / f"{key}.safetensors").eval()


def sample(name):
    with np.load(DATASETS / name, allow_pickle=False) as held:
        return from_bytes(torch.from_numpy(held["x"])), torch.from_numpy(held["y"].astype(np.int64))


def test_weights_and_cards_come_in_pairs_and_stay_small():
    assert KEYS
    assert {p.with_suffix("") for p in WEIGHTS.glob("*/*.json")} == {WEIGHTS / k for k in KEYS}
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*")) < 55e6


@pytest.mark.parametrize("key", KEYS)
def test_a_card_agrees_with_its_recipe_and_its_weights(key):
    card, recipe, net = card_of(key), load_recipe(key), net_of(key)
    assert card["key"] == key
    assert card["architecture"] == recipe.net
    assert card["rule"] == {"name": recipe.rule, **recipe.rule_params}
    training = {k: v for k, v in card["training"].items() if k != "augment"}
    assert training == recipe.training
    assert card["parameters"] == count_parameters(net)
    assert card["accuracy_n"] == 10_000
    assert all(0 <= r["accuracy"] <= card["accuracy"] + 0.03 for r in card["robust"])


@pytest.mark.parametrize("key", [k for k in KEYS if k.startswith("mnist/")])
def test_accuracy_on_digits_that_were_held_out_is_near_the_cards(key):
    x, y = sample("mnist_heldout.npz")
    assert accuracy(net_of(key), x, y) == pytest.approx(card_of(key)["accuracy"], abs=0.025)


@pytest.mark.parametrize("key", [k for k in KEYS if k.startswith("fashion_mnist/")])
def test_accuracy_on_a_part_of_the_test_images_is_near_the_cards(key):
    x, y = sample("fashion_mnist_test.npz")
    assert accuracy(net_of(key), x[:2000], y[:2000]) == pytest.approx(card_of(key)["accuracy"], abs=0.025)


def test_the_accuracy_on_the_card_is_that_of_all_test_images():
    x, y = sample("fashion_mnist_test.npz")
    assert len(x) == 10_000
    for key in ("fashion_mnist/softmax", "fashion_mnist/cnn"):
        assert accuracy(net_of(key), x, y) == pytest.approx(card_of(key)["accuracy"], abs=2e-4)
