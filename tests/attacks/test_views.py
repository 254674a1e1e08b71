"""The views through which transfer attacks look, and the knobs that leave the loop as it was."""

import pytest
import torch

import lab
from lab.attacks import views
from tests.support.nets import Small, images


def test_the_first_scale_is_the_image_itself():
    x = images(2)
    assert views.dimmed(0)(x) is x
    assert torch.equal(views.dimmed(3)(x), x / 8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_diverse_view_keeps_the_shape_and_the_range(channels, seed):
    x = images(2, channels, size=20)
    seen = views.diverse(torch.Generator().manual_seed(seed), x, 1.0)(x)
    assert seen.shape == x.shape
    assert seen.min() >= 0
    assert seen.max() <= x.max() + 1e-6


def test_diversity_happens_as_often_as_asked():
    x, rng = images(1, size=200), torch.Generator().manual_seed(0)
    changed = sum(not torch.equal(views.diverse(rng, x, 0.3)(x), x) for _ in range(1000))
    assert 250 < changed < 350


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("width", [3, 5, 15])
def test_the_blur_is_the_gaussian_of_the_authors(channels, width):
    """Built here as the outer product of scipy's normal density, as their code does."""
    from scipy.stats import norm

    bell = torch.tensor(norm.pdf(torch.linspace(-3, 3, width).numpy()), dtype=torch.float64)
    kernel = torch.outer(bell, bell) / torch.outer(bell, bell).sum()
    impulse = torch.zeros(1, channels, 31, 31, dtype=torch.float64)
    impulse[:, :, 15, 15] = 1
    half = width // 2
    spread = views.blur(impulse, width)[0, :, 15 - half : 16 + half, 15 - half : 16 + half]
    assert torch.allclose(spread, kernel.expand(channels, -1, -1), atol=1e-12)


def test_every_knob_at_rest_is_bim():
    model, x = Small(), images(3)
    y = model(x).argmax(1)
    bim = lab.attack("bim", model, x, y, steps=5)
    assert torch.equal(lab.attack("gradient", model, x, y, steps=5).x, bim.x)
    for knobs in ({"smooth": 1}, {"lookahead": True}, {"scales": 1, "diversity": 0.0}):
        assert torch.equal(lab.attack("gradient", model, x, y, steps=5, **knobs).x, bim.x), knobs
    for knobs in ({"smooth": 5}, {"scales": 2}, {"diversity": 1.0}, {"neighbours": 2}, {"momentum": 1.0}):
        assert not torch.equal(lab.attack("gradient", model, x, y, steps=5, **knobs).x, bim.x), knobs
