"""Every defense of the catalogue: still images, still a model, and what each promises."""

import io

import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

import lab
from lab.defenses.catalog import CATALOG, defend
from lab.defenses.preprocess import Jpeg, Median, ResizePad, TotalVariation
from lab.images import encode, from_picture
from lab.types import ParamError
from tests.support.nets import images


def total_variation(u):
    """Isotropic, with forward differences."""
    down = F.pad(u[..., 1:, :] - u[..., :-1, :], (0, 0, 0, 1))
    right = F.pad(u[..., 1:] - u[..., :-1], (0, 1))
    return (down.square() + right.square()).sqrt().sum()


@pytest.mark.parametrize("key", CATALOG)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_images_and_the_model_a_model(key, channels):
    x = images(3, channels)
    seen = []
    model = defend(key, lambda z: seen.append(z) or z.flatten(1)[:, :4])
    before = x.clone()
    assert model(x).shape == (3, 4)
    (z,) = seen
    assert z.shape == x.shape
    assert z.dtype == x.dtype
    assert z.min() >= 0
    assert z.max() <= 1
    assert torch.equal(x, before)
    assert not torch.equal(z, x)


@pytest.mark.parametrize("key", CATALOG)
def test_the_forward_is_the_same_whatever_the_backward_and_bpda_passes_the_gradient(key):
    model, x = lab.load_model("mnist/softmax"), lab.load_data("mnist").x[:2]
    exact, passed = (defend(key, model, backward=way, seed=1) for way in ("exact", "bpda"))
    with torch.no_grad():
        assert torch.equal(exact(x), passed(x))
    z = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(passed(z)[:, 3].sum(), z)
    assert torch.allclose(slope[0].flatten(), model.net[-1].weight[3].cpu(), atol=1e-6)
    logits = exact(z)
    assert logits.requires_grad is CATALOG[key].exact or not torch.autograd.grad(logits[:, 3].sum(), z)[0].any()


@pytest.mark.parametrize("key", CATALOG)
def test_attacks_apply_to_defended_models(key):
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 4))
    result = lab.attack("bim", defend(key, model, backward="bpda"), data.x, data.y, eps=0.6, steps=5)
    assert float((result.x - data.x).abs().max()) <= 0.6 + 1e-6
    assert result.success.any()


def test_jpeg_is_what_a_file_holds():
    x = images(2, 3)
    file = Image.open(io.BytesIO(encode(x[1], "JPEG", quality=30)))
    assert torch.equal(Jpeg(quality=30)(x)[1:], from_picture(file))


def test_the_median_takes_a_single_pixel_away_and_leaves_an_edge():
    x = torch.zeros(1, 1, 9, 9)
    x[..., 5:] = 1
    noisy = x.clone()
    noisy[0, 0, 4, 2] = 1
    assert torch.equal(Median(3)(noisy), x)


def test_total_variation_is_the_minimum_of_its_objective():
    x = images(1, 1)

    def objective(u):
        return (u - x).square().sum() / 2 + 0.1 * total_variation(u)

    u = TotalVariation(weight=0.1, steps=500)(x)
    rng = torch.Generator().manual_seed(0)
    for size in (1e-1, 1e-2, 3e-3):
        for _ in range(10):
            nearby = u + size * torch.randn(u.shape, generator=rng)
            assert objective(nearby) > objective(u)
    assert objective(u) < objective(x)
    assert total_variation(TotalVariation(weight=0.3)(x)) < total_variation(u)


@pytest.mark.parametrize("key", ["median", "gaussian", "tv"])
def test_a_flat_image_stays_flat(key):
    x, seen = torch.full((1, 3, 8, 8), 0.4), []
    defend(key, lambda z: seen.append(z) or z.flatten(1))(x)
    assert torch.allclose(seen[0], x, atol=1e-6)


def test_random_looks_differ_and_repeat_with_the_seed_and_averages_are_steadier():
    model, x = lab.load_model("mnist/mlp"), lab.load_data("mnist").x[:4]
    first, again, other = (defend("resize_pad", model, seed=s) for s in (0, 0, 1))
    with torch.no_grad():
        looks = [first(x) for _ in range(6)]
        assert not torch.equal(looks[0], looks[1])
        assert torch.equal(again(x), looks[0])
        assert not torch.equal(other(x), looks[0])
        averaged = defend("resize_pad", model, draws=6)(x)
    assert torch.allclose(averaged, torch.stack(looks).mean(0), atol=1e-5)


def test_resizing_keeps_everything_inside_the_frame():
    x = torch.ones(1, 1, 20, 20)
    for seed in range(5):
        z = ResizePad(smallest=0.5)(x, torch.Generator().manual_seed(seed))
        side = int(z[0, 0].amax(0).sum().round())
        assert 10 <= side <= 20
        assert float(z.sum()) == pytest.approx(side**2, rel=0.01)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"key": "prayer"}, "there is no defense 'prayer'"),
        ({"key": "jpeg", "quality": 0}, "quality"),
        ({"key": "jpeg", "bits": 3}, "has no parameter 'bits'"),
        ({"key": "median", "draws": 3}, "draws must be 1"),
        ({"key": "median", "backward": "none"}, "backward must be"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_sentence(asked, said):
    with pytest.raises(ParamError, match=said):
        defend(model=lab.load_model("mnist/softmax"), **asked)


def test_the_catalogue_lists_them():
    assert lab.catalog()["defenses"][: len(CATALOG)] == list(CATALOG)
    assert all(spec.summary.endswith(".") and spec.papers and spec.params for spec in CATALOG.values())


@pytest.mark.parametrize("size", range(2, 8))
def test_the_median_is_that_of_scipy(size):
    x = torch.rand(2, 1, 9, 11, generator=torch.Generator().manual_seed(size))
    wanted = ndimage.median_filter(x.numpy(), size=(1, 1, size, size), mode="reflect")
    assert (Median(size)(x).numpy() == wanted).all()


@pytest.mark.parametrize("weight", [0.1, 0.5, 2.0])
def test_total_variation_is_near_its_end_at_every_weight(weight):
    rng = torch.Generator().manual_seed(0)
    x = (lab.load_data("mnist").x[:2] + 0.2 * torch.randn(2, 1, 28, 28, generator=rng)).clamp(0, 1)
    assert (TotalVariation(weight)(x) - TotalVariation(weight, steps=500)(x)).abs().max() < 0.03
    black = torch.zeros(1, 1, 8, 8, requires_grad=True)
    (g,) = torch.autograd.grad(TotalVariation(weight)(black).sum(), black)
    assert g.isfinite().all()


def test_the_same_seed_gives_the_same_attack_on_a_random_defense_however_often_it_was_asked_before():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 6))
    random = lab.defend("resize_pad", model, seed=3)
    before = [random(data.x), random(data.x)]
    first, second = (lab.attack("pgd", random, data.x, data.y, eps=0.2, steps=5) for _ in range(2))
    assert torch.equal(first.x, second.x)
    assert not torch.equal(*before), "while the looks themselves differ"
