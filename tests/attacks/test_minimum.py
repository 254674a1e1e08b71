"""What the searches for the smallest perturbation promise inside, where an oracle sees the end of it only."""

import torch

import lab
from lab.attacks import cw
from lab.attacks.weights import Weights
from lab.types import Goal
from tests.support.optimum import known_optimum


def test_the_first_weight_of_carlini_wagner_counts_the_confidence(monkeypatch):
    """Eight times what a linear model would need to get beyond the boundary by the confidence."""
    model, x, y, _, _ = known_optimum(2, "l2")
    first, start = [], Weights.start
    monkeypatch.setattr(cw.Weights, "start", lambda weight, like: first.append(weight) or start(weight, like))
    for confidence in (0.0, 5.0):
        lab.attack("cw", model, x, y, confidence=confidence, steps=1, searches=1)
        with torch.no_grad():
            margin, slope = Goal(y).margin(model(x)), (model.w[0] - model.w[1]).square().sum()
        assert torch.allclose(first[-1], 8 * 2 * (margin + confidence) / slope)


def test_carlini_wagner_goes_beyond_the_boundary_by_its_confidence():
    model, x, y, _, _ = known_optimum(5, "l2")
    result = lab.attack("cw", model, x, y, confidence=5.0, weight=0.01, trace=True)
    deepest = torch.stack([f.margin for f in result.frames]).amin(0)
    assert (deepest < -5).all()


def test_the_weight_grows_until_an_image_is_fooled_and_then_closes_in():
    weights = Weights.start(1.0, torch.zeros(2, 1))
    tried = []
    for fooled in ([False, True], [True, True], [False, False], [True, True]):
        tried.append(weights.value)
        weights = weights.after(torch.tensor(fooled))
    expected = torch.tensor([[1, 1], [10, 0.5], [10**0.5, 0.25], [10**0.75, 0.125**0.5]])
    assert torch.allclose(torch.stack(tried), expected)
    assert torch.allclose(weights.low, torch.tensor([10**0.5, 0.25]))
    assert torch.allclose(weights.high, torch.tensor([10**0.75, 0.125**0.5]))
