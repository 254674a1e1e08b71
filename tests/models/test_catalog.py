"""Every model of the catalogue: it loads, keeps still, and knows what it is."""

import json
import shutil

import pytest
import torch
from torch import nn

import lab
from lab.models.catalog import CATALOG, SHIPPED, find_model, load_shipped
from lab.models.imagenet import LITE_SIZES, TORCHVISION
from lab.predict import classes_of
from lab.types import ModelError
from tests.support.refusals import refused

BUNDLED = [key for key, spec in CATALOG.items() if spec.card().bundled]
WEIGHTS = lab.assets.ASSETS / "weights"


def test_the_catalogue_has_what_works_offline_first():
    keys = lab.catalog()["models"]
    assert set(BUNDLED) >= {f"imagenet/{name}" for name in LITE_SIZES} | {"mnist/cnn", "fashion_mnist/cnn"}
    assert set(keys) >= {f"imagenet/{name}" for name in TORCHVISION}
    assert keys[0] in BUNDLED
    wanted = "resnet18 resnet50 densenet121 inception_v3 vgg16_bn mobilenet_v3_large convnext_tiny vit_b_16 swin_t"
    assert set(wanted.split()) <= set(TORCHVISION)


@pytest.mark.parametrize("key", BUNDLED)
def test_a_bundled_model_is_a_frozen_classifier_with_a_card(device, key):
    model, again = lab.load_model(key), lab.load_model(key)
    card = model.card
    assert card.key == key
    assert card == CATALOG[key].card()
    assert not any(m.training for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert card.parameters in (None, sum(p.numel() for p in model.parameters()))
    assert card.accuracy is None or 0.5 < card.accuracy <= 1
    for text in (card.name, card.summary, card.source, card.licence, card.fit.describe()):
        assert text
    assert len(set(card.classes)) >= 0.99 * len(card.classes) > 1
    x = torch.rand(2, *card.input_shape, generator=torch.Generator().manual_seed(0))
    logits = model(x)
    assert logits.shape == (2, len(card.classes))
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert not torch.allclose(logits.softmax(1), logits)
    assert torch.equal(model(x), logits)
    assert torch.equal(again(x), logits)
    # images as they are, [0,1], go in; whatever normalisation the net wants lies inside
    here = x.to(device)
    expected = model.net((here - model.mean) / model.std) if model.normalises else model.net(here)
    assert torch.equal(expected.to(x.device), logits)
    assert model.state_dict().keys() == {f"net.{k}" for k in model.net.state_dict()}


@pytest.mark.parametrize("name", LITE_SIZES)
def test_efficientnet_lite_recognises_the_photographs(name):
    model = lab.load_model(f"imagenet/{name}")
    images = lab.load_data("photographs", card=model.card)
    assert len(images) == 21
    assert int((classes_of(model, images.x, rows=7) == images.y).sum()) >= 19


@pytest.mark.parametrize(("key", "least"), [("mnist/cnn", 0.985), ("fashion_mnist/cnn", 0.9)])
def test_the_small_nets_recognise_their_samples(key, least):
    model, images = lab.load_model(key), lab.load_data(key.split("/")[0]).rows(slice(0, 1000))
    assert (classes_of(model, images.x, rows=250) == images.y).float().mean() >= least


def test_normalisation_of_efficientnet_lite_is_the_authors():
    model = lab.load_model("imagenet/efficientnet_lite0")
    assert torch.allclose(model.mean * 255, torch.tensor(127.0))
    assert torch.allclose(model.std * 255, torch.tensor(128.0))


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_card_of_a_torchvision_model_needs_no_download(name):
    card = find_model(f"imagenet/{name}").card()
    assert card.key == f"imagenet/{name}"
    assert card.task == "imagenet"
    assert not card.bundled
    assert len(card.classes) == 1000
    assert card.classes[340] == "zebra"
    assert card.input_shape == (3, card.fit.crop, card.fit.crop)
    assert card.fit.crop <= card.fit.resize
    assert "as torchvision reports it" in card.accuracy_note
    assert card.accuracy is None
    assert card.fit.interpolation in ("bilinear", "bicubic")


def test_the_fit_of_torchvision_models_is_torchvisions():
    assert find_model("imagenet/inception_v3").card().fit == lab.models.cards.Fit(342, 299, "bilinear")
    assert find_model("imagenet/swin_t").card().fit == lab.models.cards.Fit(232, 224, "bicubic")


@pytest.mark.parametrize(
    "key", ["nope", "mnist/nope", "cnn", "", "imagenet", "imagenet/", "imagenet/nope", "imagenet/fcn_resnet50", None]
)
def test_unknown_model(key):
    with refused(ModelError, f"there is no model '{key}': the lab has ", "efficientnet_lite0"):
        lab.load_model(key)


@pytest.fixture
def shipped(tmp_path):
    """A copy of a shipped model that may be damaged."""
    for ending in (".safetensors", ".json"):
        shutil.copy(WEIGHTS / f"{SHIPPED[0]}{ending}", tmp_path / f"cnn{ending}")
    return tmp_path / "cnn.safetensors"


def test_a_copy_of_a_shipped_model_loads(shipped):
    assert isinstance(load_shipped(shipped), nn.Module)


@pytest.mark.parametrize(
    ("damage", "telling"),
    [
        (lambda data: data[: len(data) // 2], "cnn.safetensors is not a whole safetensors file"),
        (lambda data: b"", "cnn.safetensors is not a whole safetensors file"),
        (lambda data: b"not weights at all" * 50, "cnn.safetensors is not a whole safetensors file"),
        (lambda data: b"\x80\x04K\x01.", "cnn.safetensors is a pickle"),
        (lambda data: (WEIGHTS / "mnist" / "softmax.safetensors").read_bytes(), "the weights of another architecture"),
    ],
)
def test_damaged_weights(shipped, damage, telling):
    shipped.write_bytes(damage(shipped.read_bytes()))
    with refused(ModelError, telling):
        load_shipped(shipped)


def test_missing_weights(shipped):
    shipped.unlink()
    with refused(ModelError, "there is no weights file"):
        load_shipped(shipped)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"[1]", b"3", b"\xff\xfe\x00"])
def test_a_damaged_card(shipped, content):
    card = shipped.with_suffix(".json")
    card.unlink() if content is None else card.write_bytes(content)
    with refused(ModelError, "the model card cnn.json is ", "restore it from the repository"):
        load_shipped(shipped)


@pytest.mark.parametrize(("name", "value"), [("classes", None), ("input_shape", []), ("robust", [{}]), ("name", None)])
def test_an_incomplete_card(shipped, name, value):
    told = json.loads(shipped.with_suffix(".json").read_text())
    if name == "name":
        del told["name"]
    else:
        told[name] = value
    shipped.with_suffix(".json").write_text(json.dumps(told))
    with refused(ModelError, "the model card cnn.json is incomplete"):
        load_shipped(shipped)
