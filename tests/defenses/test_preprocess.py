"""Transformations: exact forward, and gradients that are what they are said to be."""

from functools import partial

import pytest
import torch

import lab
from lab.defenses.preprocess import Preprocessed, staircase
from lab.types import ParamError


def test_the_staircase_rounds_to_its_levels():
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert set(staircase(x, 1).unique().tolist()) == {0.0, 1.0}
    assert (staircase(x) - x).abs().max() <= 0.5 / 255 + 1e-7
    assert torch.equal(staircase(staircase(x)), staircase(x))


def test_gradients_stop_at_the_staircase_unless_it_is_passed_by():
    model, x = lab.load_model("mnist/mlp"), lab.load_data("mnist").x[:2]
    exact, passed = (Preprocessed(model, staircase, way) for way in ("exact", "bpda"))
    with torch.no_grad():
        assert torch.equal(exact(x), model(staircase(x)))
        assert torch.equal(passed(x), model(staircase(x)))
    slopes = []
    for net in (exact, passed, model):
        z = x.clone().requires_grad_()
        slopes.append(torch.autograd.grad(net(z).max(1).values.sum(), z)[0])
    assert not slopes[0].any()
    assert torch.allclose(slopes[1], slopes[2], atol=1e-5)


@pytest.mark.parametrize("key", ["mnist/mlp", "mnist/cnn"])
def test_clever_saturates_at_the_staircase_and_comes_back_with_the_gradient_passed_by(key):
    """Goodfellow's critique, and the authors' reply to it."""
    model, x = lab.load_model(key), lab.load_data("mnist").x[:3]
    x = staircase(x)
    score = partial(lab.clever, x=x, batches=10, samples=32, radius=5.0)
    plain, masked, passed = (
        score(net) for net in (model, Preprocessed(model, staircase, "exact"), Preprocessed(model, staircase, "bpda"))
    )
    assert (masked.scores == 5.0).all()
    assert torch.allclose(passed.scores, plain.scores, rtol=0.3)
    assert (plain.scores < 3).all()
    assert (masked.location == 0).all()


def test_backward_is_exact_or_bpda():
    with pytest.raises(ParamError, match="backward must be 'exact' or 'bpda'"):
        Preprocessed(lambda x: x.flatten(1), staircase, "none")
