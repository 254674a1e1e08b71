"""The same mistakes: counted on images that were made by hand, and the acceptance figures of the zoo's trio."""

import pytest
import torch

import lab
from lab.experiments.transfer.agreement import agreement


class Fixed(torch.nn.Module):
    """Answers given classes, with a gradient that does nothing."""

    def __init__(self, classes):
        super().__init__()
        self.classes = torch.tensor(classes)

    def forward(self, x):
        logits = torch.nn.functional.one_hot(self.classes[: len(x)], 4).float() * 10
        return logits + 0 * x.flatten(1).sum(1, keepdim=True)


def test_shares_are_of_the_sources_mistakes():
    y = torch.tensor([0, 0, 0, 0, 0])
    models = {"s": Fixed([0, 1, 1, 2, 3]), "a": Fixed([1, 1, 2, 0, 3]), "b": Fixed([1, 1, 2, 2, 0])}
    found = agreement("s", models, torch.rand(5, 1, 2, 2), y, 0.1, noises=5)
    assert found.error == pytest.approx({"s": 0.8, "a": 0.8, "b": 0.8})
    assert found.same == pytest.approx({"a": 2 / 4, "b": 2 / 4})
    assert found.both == pytest.approx({"a": 2 / 3, "b": 2 / 3})
    assert found.between == pytest.approx({("a", "b"): 1.0})


def test_the_zoos_trio_makes_the_papers_mistakes():
    data = lab.load_data("mnist").rows(slice(0, 500))
    models = {name: lab.load_model(f"mnist/{name}") for name in ("maxout", "softmax", "rbf")}
    found = agreement("maxout", models, data.x, data.y, 0.25)
    assert found.error["maxout"] >= 0.85
    assert found.same["softmax"] >= 0.45
    assert found.both["softmax"] >= 0.55
    assert found.rubbish["rbf"] <= 0.01
    assert found.rubbish["maxout"] >= 0.9
