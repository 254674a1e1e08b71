"""The data sets and photographs of the catalogue."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

import lab
from lab.assets import ASSETS
from lab.data import samples
from lab.data.official import HELD_OUT
from lab.data.photographs import crops, photographs, with_label
from lab.models.catalog import find_model
from lab.types import DataError, ImageError

SHAPES = {"photographs": (21, 3, 224, 224), "mnist": (2_000, 1, 28, 28), "fashion_mnist": (10_000, 1, 28, 28)}
CAT = ASSETS / "images" / "cat.png"


@pytest.fixture
def fresh():
    """Samples are kept once read; this test reads anew and leaves nothing behind."""
    samples.load_sample.cache_clear()
    yield
    samples.load_sample.cache_clear()


def test_the_catalogue_lists_these_data_sets():
    assert lab.catalog()["datasets"] == list(SHAPES)


@pytest.mark.parametrize("key", SHAPES)
def test_labelled_images(key):
    images = lab.load_data(key)
    assert images.x.shape == SHAPES[key]
    assert images.x.dtype == torch.float32
    assert (images.x.min(), images.x.max()) == (0, 1)
    assert torch.equal((images.x[:50] * 255).round() / 255, images.x[:50])
    assert images.y.shape == SHAPES[key][:1]
    assert images.y.dtype == torch.int64
    assert len(images) == len(images.ids) == len(set(images.ids))
    classes = find_model({"photographs": "imagenet/efficientnet_lite0"}.get(key, f"{key}/cnn")).card().classes
    assert images.y.min() >= 0
    assert images.y.max() < len(classes)
    # an attack takes them as they are
    result = lab.attack("fgsm", lambda x: x.flatten(1)[:, : len(classes)], images.x[:2], images.y[:2])
    assert result.x.shape == images.x[:2].shape


@pytest.mark.parametrize("key", ["mnist", "fashion_mnist"])
def test_every_class_is_there(key):
    counts = lab.load_data(key).y.bincount()
    assert len(counts) == 10
    assert counts.min() > 0.8 * counts.float().mean()


def test_the_digits_are_those_held_out_of_training():
    ids = lab.load_data("mnist").ids
    assert {int(i.removeprefix("mnist-")) for i in ids} == set(HELD_OUT["mnist"])


@pytest.mark.parametrize("key", ["mnist", "fashion_mnist"])
def test_images_are_the_callers_own(key):
    mine = lab.load_data(key)
    mine.x[:1] = 0.125
    mine.y[:1] = 9 - mine.y[:1]
    again = lab.load_data(key)
    assert not torch.equal(again.x[:1], mine.x[:1])
    assert again.y[0] != mine.y[0]


def test_some_rows():
    images = lab.load_data("mnist")
    some = images.rows([5, 2])
    assert torch.equal(some.x, images.x[[5, 2]])
    assert torch.equal(some.y, images.y[[5, 2]])
    assert some.ids == [images.ids[5], images.ids[2]]
    assert list(images.rows(slice(1, 3)).ids) == list(images.ids[1:3])
    assert len(images.rows(slice(1_990, 5_000))) == 10


def test_photographs_are_fitted_to_the_model():
    card = find_model("imagenet/efficientnet_lite1").card()
    images = lab.load_data("photographs", card=card)
    assert images.x.shape == (21, 3, 240, 240)
    at = list(images.ids).index("cat")
    assert torch.equal(images.x[at : at + 1], card.fit(Image.open(CAT)))
    named = {name: card.classes[label] for name, label in zip(images.ids, images.y, strict=True)}
    assert (named["zebra"], named["tiger"], named["stethoscope"]) == ("zebra", "tiger", "stethoscope")


def test_crops_are_parts_of_their_photograph_the_same_at_every_call():
    fit = find_model("imagenet/efficientnet_lite1").card().fit
    zebra = photographs()["zebra"]
    found = crops(zebra, fit, 4)
    assert found.x.shape == (4, 3, 240, 240)
    assert found.x.flatten(1).unique(dim=0).shape[0] == 4
    assert found.y.tolist() == [zebra.label] * 4
    assert found.ids[2] == "zebra, crop 3"
    assert torch.equal(crops(zebra, fit, 4).x, found.x)
    assert not torch.equal(crops(zebra, fit, 4, seed=1).x, found.x)
    assert len(with_label()) == len(lab.load_data("photographs"))


def test_crops_show_what_is_there_and_every_second_one_mirrored():
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).convert("RGB")
    photograph = dataclasses.replace(photographs()["zebra"], file="ramp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(photograph), "open", lambda self: ramp)
        x = crops(photograph, find_model("imagenet/efficientnet_lite0").card().fit).x
    across = x[:, 0, 0, -1] - x[:, 0, 0, 0]  # brightness from the left edge to the right one: the share that is seen
    assert (across[0::2] > 0).all()
    assert (across[1::2] < 0).all()
    assert ((across.abs() > 0.55) & (across.abs() <= 1)).all()


def test_every_photograph_says_where_it_comes_from():
    assert len(photographs()) >= 16
    for p in photographs().values():
        assert (ASSETS / "images" / p.file).is_file()
        assert p.title
        assert p.source
        assert p.licence
        assert p.open().mode == "RGB"
    table = (ASSETS / "images" / "LICENSES.md").read_text(encoding="utf-8")
    assert all(p.file in table for p in photographs().values())
    listed = {p["file"] for p in json.loads((ASSETS / "images" / "index.json").read_text(encoding="utf-8"))}
    assert listed == {f.name for f in (ASSETS / "images").glob("*.png")}


def test_unknown_data_set():
    with pytest.raises(
        DataError, match=r"^there is no data set 'svhn': the lab has photographs, mnist, fashion_mnist$"
    ):
        lab.load_data("svhn")


@pytest.mark.parametrize(
    ("key", "split", "has"),
    [
        ("photographs", "official_test", "test"),
        ("photographs", "train", "test"),
        ("mnist", "train", "test, official_train, official_test"),
        ("fashion_mnist", "", "test, official_train, official_test"),
    ],
)
def test_unknown_split(key, split, has):
    with pytest.raises(DataError) as caught:
        lab.load_data(key, split)
    assert str(caught.value) == f"{key} has no split '{split}': it has {has}"


def test_official_files_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        lab.load_data("mnist", "official_test")
    assert len(str(caught.value).splitlines()) == 1


DAMAGES = {
    "missing": lambda data: None,
    "empty": lambda data: b"",
    "text": lambda data: b"not an archive",
    "cut short": lambda data: data[: len(data) // 2],
    "flipped bits": lambda data: data[:2000] + bytes(b ^ 255 for b in data[2000:2100]) + data[2100:],
    "a pickle": lambda data: b"\x80\x04K\x01.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_sample(damage, tmp_path, monkeypatch, fresh):
    data = DAMAGES[damage]((ASSETS / "datasets" / "mnist_heldout.npz").read_bytes())
    (tmp_path / "datasets").mkdir()
    if data is not None:
        (tmp_path / "datasets" / "mnist_heldout.npz").write_bytes(data)
    monkeypatch.setattr(samples, "ASSETS", tmp_path)
    with pytest.raises(DataError) as caught:
        lab.load_data("mnist")
    sentence = "the bundled sample mnist_heldout.npz is missing or damaged: restore it from the repository"
    assert str(caught.value) == sentence


def test_a_sample_without_labels(tmp_path, monkeypatch, fresh):
    (tmp_path / "datasets").mkdir()
    np.savez(tmp_path / "datasets" / "mnist_heldout.npz", x=np.zeros((2, 28, 28), np.uint8))
    monkeypatch.setattr(samples, "ASSETS", tmp_path)
    with pytest.raises(DataError, match=r"mnist_heldout\.npz is missing or damaged"):
        lab.load_data("mnist")


def test_a_sample_that_holds_objects_is_not_unpickled(tmp_path, monkeypatch, fresh):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").write_text, ("!",))

    (tmp_path / "datasets").mkdir()
    trap = np.array([Trap()], dtype=object)
    np.savez(tmp_path / "datasets" / "mnist_heldout.npz", x=trap, y=trap, index=trap)
    monkeypatch.setattr(samples, "ASSETS", tmp_path)
    with pytest.raises(DataError, match=r"mnist_heldout\.npz is missing or damaged"):
        lab.load_data("mnist")
    assert not (tmp_path / "sprung").exists()


class TestPictures:
    card = find_model("imagenet/efficientnet_lite0").card()

    def test_by_id_and_by_path(self):
        by_id, by_path = lab.load_picture("cat", self.card), lab.load_picture(CAT, self.card)
        assert by_id.shape == (1, 3, 224, 224)
        assert by_id.dtype == torch.float32
        assert torch.equal(by_id, by_path)
        assert torch.equal(by_id, lab.load_picture(str(CAT), self.card))
        assert by_id.std() > 0.1

    def test_as_the_model_wants_it(self):
        assert lab.load_picture("cat", find_model("mnist/cnn").card()).shape == (1, 1, 28, 28)

    @pytest.mark.parametrize("name", ["no-such-picture", "missing.png", "", "a\0b", "x" * 5000, "."])
    def test_what_is_not_there(self, name):
        with pytest.raises(ImageError) as caught:
            lab.load_picture(name, self.card)
        assert str(caught.value).startswith(f"there is no picture '{name}': give the path of a file, or one of cat, ")
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize(
        ("content", "telling"),
        [(b"", "empty"), (b"some text", "is not a picture"), (CAT.read_bytes()[:3000], "damaged or cut short")],
    )
    def test_files_that_are_no_pictures_whatever_their_names(self, content, telling, tmp_path):
        (tmp_path / "cat.png").write_bytes(content)
        with pytest.raises(ImageError, match=telling):
            lab.load_picture(tmp_path / "cat.png", self.card)
