import gzip
import json
import struct

import pytest
import torch

from lab.data.official import HELD_OUT, load_official, training_images
from lab.models.nets import build
from lab.models.weights import load_into, read_tensors
from lab.progress import Progress
from lab.training import recipe as recipes_module
from lab.training.measure import pgd_accuracy
from lab.training.recipe import Recipe, load_recipe, recipes, run_recipe
from lab.types import DataError, ParamError

TRAIN = 400


def idx(values):
    return (
        bytes([0, 0, 8, values.dim()])
        + struct.pack(f">{values.dim()}I", *values.shape)
        + bytes(values.flatten().tolist())
    )


def digits(n, seed):
    """Pictures in which the class is a bright row at its own height."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 10
    x = torch.randint(0, 60, (n, 28, 28), generator=rng)
    for i, label in enumerate(y):
        x[i, 2 * label + 3 : 2 * label + 5, 4:24] = 230
    return x.to(torch.uint8), y.to(torch.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """MNIST in small, zipped as in the lab's layout, and Fashion-MNIST unpacked as in torchvision's."""
    folder = tmp_path_factory.mktemp("data")
    for name, count, seed in (("train", TRAIN, 0), ("t10k", 100, 1)):
        x, y = digits(count, seed)
        for kind, values in (("images-idx3", x), ("labels-idx1", y)):
            zipped = folder / "mnist" / f"{name}-{kind}-ubyte.gz"
            plain = folder / "FashionMNIST" / "raw" / f"{name}-{kind}-ubyte"
            for path, content in ((zipped, gzip.compress(idx(values), 1)), (plain, idx(values))):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return folder


@pytest.fixture
def small(monkeypatch):
    """Holds ten of the small training file's images out instead of the real file's 2,000."""
    monkeypatch.setitem(HELD_OUT, "mnist", range(80, 90))


def write(tmp_path, text):
    path = tmp_path / "tiny.toml"
    path.write_text(text)
    return str(path)


TINY = """
name = "Tiny"
summary = "A net for the tests."
dataset = "mnist"
net = "mlp"
validate = 20
eps = ["8/255", 0.3]
images = 50

[rule]
name = "pgd"
eps = 0.1
steps = 2
alpha = 0.05

[training]
epochs = 3
batch = 32
lr = 3e-3
seed = 4
weight_average = 0.9
"""


def test_zipped_and_unpacked_files_read_alike(root):
    a, b = load_official("mnist", "test", root), load_official("fashion_mnist", "test", root)
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.y, b.y)
    assert a.x.shape == (100, 1, 28, 28)
    assert torch.equal((a.x * 255).round().to(torch.uint8).squeeze(1), digits(100, 1)[0])
    assert a.ids[3] == "mnist/test/3"


def test_the_root_comes_from_the_environment_where_none_is_given(root, monkeypatch):
    monkeypatch.setenv("LAB_DATA", str(root))
    assert len(load_official("mnist", "train")) == TRAIN


def test_the_held_out_digits_are_in_no_training_set(root, small):
    data = training_images("mnist", root)
    assert len(data) == TRAIN - 10
    assert not {f"mnist/train/{i}" for i in range(80, 90)} & set(data.ids)
    assert HELD_OUT["mnist"] == range(80, 90)


def test_the_real_held_out_digits_are_those_that_the_app_shows():
    assert HELD_OUT["mnist"] == range(8_000, 10_000)


def test_missing_or_damaged_data_say_what_to_do(root, tmp_path):
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz of mnist is missing: put it into"):
        load_official("mnist", "train", tmp_path)
    with pytest.raises(DataError, match=r"put cifar10_jpeg\.npz into"):
        load_official("cifar10", "train", tmp_path)
    with pytest.raises(DataError, match="no official data set"):
        load_official("svhn", "train", tmp_path)
    with pytest.raises(DataError, match="splits train and test"):
        load_official("mnist", "validation", root)
    whole = (root / "FashionMNIST/raw/t10k-images-idx3-ubyte").read_bytes()
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte"
    path.parent.mkdir()
    for content, message in (
        (whole[:-5], "truncated"),
        (b"PK\x03\x04" + whole, "not an IDX file"),
        (b"", "not an IDX"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_official("mnist", "test", tmp_path)
    path.unlink()
    path.with_suffix(".gz").write_bytes(gzip.compress(whole)[:-200])
    with pytest.raises(DataError, match="cannot be read"):
        load_official("mnist", "test", tmp_path)


def test_every_recipe_is_valid_and_names_the_model_whose_file_it_is():
    assert len(recipes()) >= 24
    for key in recipes():
        recipe = load_recipe(key)
        assert recipe.key == key
        assert recipe.summary.endswith(".")
        net = build(recipe.net, (1, 28, 28) if "mnist" in key else (3, 32, 32), 10)
        assert net(torch.rand(1, *((1, 28, 28) if "mnist" in key else (3, 32, 32)))).shape == (1, 10)


def test_the_two_halves_share_no_image(root, small):
    sets = []
    for key in ("mnist/cnn_half_a", "mnist/cnn_half_b"):
        recipe = load_recipe(key)
        data, held = recipes_module._training_data(Recipe(**{**recipe.__dict__, "validate": 10}), root)
        sets.append(set(data.ids) | set(held.ids))
    assert not sets[0] & sets[1]
    assert len(sets[0] | sets[1]) == TRAIN - 10


def test_a_recipe_writes_weights_and_a_card_whose_figures_are_those_of_the_weights(root, small, tmp_path):
    out = tmp_path / "made" / "tiny.safetensors"
    epochs = list(run_recipe(write(tmp_path, TINY), out, data_root=root, device=torch.device("cpu")))
    assert len(epochs) == 3
    assert set(epochs[-1].validation) == {"clean", "fgsm", "robust"}
    card = json.loads(out.with_suffix(".json").read_text())
    net = load_into(build(card["architecture"], tuple(card["input_shape"]), len(card["classes"])), out).eval()
    test = load_official("mnist", "test", root)
    assert card["accuracy"] == float((net(test.x).argmax(1) == test.y).double().mean())
    assert card["accuracy_n"] == 100
    assert [(r["eps"], r["n"]) for r in card["robust"]] == [(8 / 255, 50), (0.3, 50)]
    assert card["robust"][0]["accuracy"] == pgd_accuracy(net, test.x[:50], test.y[:50], eps=8 / 255).accuracy
    assert card["data"]["trained_on"] == TRAIN - 10 - 20
    assert card["parameters"] == 89_610
    assert card["eps"] == 0.1
    assert card["seed"] == 4
    assert card["command"] == "python -m lab train mnist/tiny --out mnist_tiny.safetensors"
    assert sorted(p.name for p in out.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def same_tensors(a, b):
    """Bit for bit; the files' text is in no fixed order."""
    (left, about_left), (right, about_right) = read_tensors(a), read_tensors(b)
    equal = left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
    return equal and about_left == about_right


def test_a_resumed_recipe_writes_the_same_weights(root, small, tmp_path):
    path = write(tmp_path, TINY)
    whole, parted, checkpoint = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "c.safetensors"
    list(run_recipe(path, whole, data_root=root))
    run = run_recipe(path, parted, data_root=root, checkpoint=checkpoint)
    next(run)
    run.close()
    assert not parted.exists()
    list(run_recipe(path, parted, data_root=root, checkpoint=checkpoint))
    assert same_tensors(whole, parted)
    parted.unlink()
    again = list(run_recipe(path, parted, data_root=root, checkpoint=checkpoint))
    assert [e.number for e in again] == [3]
    assert same_tensors(whole, parted)


def test_a_cancelled_recipe_writes_nothing(root, small, tmp_path):
    out = tmp_path / "out.safetensors"
    assert list(run_recipe(write(tmp_path, TINY), out, data_root=root, progress=Progress(stop=lambda: True))) == []
    assert not out.exists()


def test_values_of_the_recipe_can_be_changed_for_a_run(root, small, tmp_path):
    out = tmp_path / "out.safetensors"
    epochs = list(run_recipe(write(tmp_path, TINY), out, data_root=root, epochs="1", seed=9))
    assert len(epochs) == 1
    assert json.loads(out.with_suffix(".json").read_text())["seed"] == 9


def test_distillation_trains_the_teacher_and_then_the_student(root, small, tmp_path):
    rule = '[rule]\nname = "distillation"\ntemperature = 5.0\n'
    text = TINY.replace(TINY[TINY.index("[rule]") : TINY.index("[training]")], rule)
    out, checkpoint = tmp_path / "out.safetensors", tmp_path / "c.safetensors"
    epochs = list(run_recipe(write(tmp_path, text), out, data_root=root, checkpoint=checkpoint))
    assert [(e.number, e.of) for e in epochs] == [(i, 6) for i in range(1, 7)]
    again = list(run_recipe(write(tmp_path, text), out, data_root=root, checkpoint=checkpoint))
    assert [e.number for e in again] == [3, 6]


def test_half_precision_figures_are_those_of_the_stored_weights(root, small, tmp_path):
    out = tmp_path / "out.safetensors"
    list(run_recipe(write(tmp_path, 'store = "float16"\n' + TINY), out, data_root=root))
    card = json.loads(out.with_suffix(".json").read_text())
    net = load_into(build("mlp", (1, 28, 28), 10), out).eval()
    test = load_official("mnist", "test", root)
    assert card["accuracy"] == float((net(test.x).argmax(1) == test.y).double().mean())
    assert card["stored_as"] == "float16"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"pgd"', '"magic"', "unknown rule 'magic'"),
        ('"mnist"', '"svhn"', "unknown dataset 'svhn'"),
        ("steps = 2", "step = 2", "no parameter 'step'"),
        ("eps = 0.1", "eps = 7", "eps must lie between"),
        ("validate", "valid", "unknown entry"),
        ('summary = "A net for the tests."', "", "incomplete"),
        ("[rule]", "[rule", "not valid TOML"),
        ("epochs = 3", "epochs = 0", "epochs must lie between"),
    ],
)
def test_bad_recipes_are_refused_in_one_sentence(root, small, tmp_path, old, new, message):
    path = write(tmp_path, TINY.replace(old, new))
    with pytest.raises(ParamError, match=message):
        list(run_recipe(path, tmp_path / "out.safetensors", data_root=root))


def test_an_unknown_recipe_names_those_there_are(tmp_path):
    with pytest.raises(ParamError, match=r"there is no recipe 'mnist/vgg': choose one of .*mnist/cnn"):
        load_recipe("mnist/vgg")


def test_more_validation_images_than_images_are_refused(root, small, tmp_path):
    path = write(tmp_path, TINY.replace("validate = 20", "validate = 5000"))
    with pytest.raises(DataError, match="cannot be kept for validation"):
        list(run_recipe(path, tmp_path / "out.safetensors", data_root=root))


def test_pgd_accuracy_is_exact_on_a_linear_net():
    net = build("softmax", (1, 2, 2), 2).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
        net[1].bias.copy_(torch.tensor([-2.0, 2.0]))
    # the logit difference is 2 sum(x) - 4, so class 0 stands as long as mean(x) - eps > 1/2
    x = torch.tensor([0.55, 0.65, 0.75, 0.95]).view(4, 1, 1, 1).expand(4, 1, 2, 2).contiguous()
    y = torch.zeros(4, dtype=torch.int64)
    for eps, standing in ((0.01, 4), (0.1, 3), (0.2, 2), (0.4, 1), (0.5, 0)):
        assert pgd_accuracy(net, x, y, eps=eps, steps=5).accuracy == standing / 4
    assert pgd_accuracy(net, x, torch.ones(4, dtype=torch.int64), eps=0.01).accuracy == 0
