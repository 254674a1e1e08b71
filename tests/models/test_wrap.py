"""lab.wrap: anyone's network asked in its own pixels, order of colours and form of answer."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lab
from tests.support.nets import Small, images
from tests.support.refusals import refused

NET = Small()
X = images(4, 3)


def test_pixels_are_scaled_then_normalised_then_put_in_order():
    seen = []
    model = lab.wrap(
        lambda x: (seen.append(x), NET(x))[1],
        input_range=(-1, 1),
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.6, 0.7),
        channels="BGR",
    )
    model(X)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    assert torch.allclose(seen[0], (2 * X.flip(1) - 1 - mean) / std, atol=1e-6)
    assert lab.wrap(NET, input_range=(0, 255), mean=127.5)(X).shape == (4, 10)


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (lambda z: z, None),
        (lambda z: (z, None), None),
        (lambda z: SimpleNamespace(logits=z), None),
        (lambda z: {"logits": z}, None),
        (lambda z: {"scores": z}, "scores"),
        (lambda z: SimpleNamespace(scores=z), "scores"),
        (lambda z: [0, z], 1),
        (lambda z: {"deep": [z]}, lambda answer: answer["deep"][0]),
    ],
)
def test_logits_are_found_where_they_are(answer, output):
    model = lab.wrap(lambda x: answer(NET(x)), output=output)
    assert torch.equal(model(X), NET(X))
    y = NET(X).argmax(1)
    assert torch.equal(lab.attack("bim", model, X, y, eps=0.1).success, lab.attack("bim", NET, X, y, eps=0.1).success)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_logit_is_two_classes(shape):
    one = lambda x: NET(x)[:, 0].view(-1, *shape[1:])  # noqa: E731
    logits = lab.wrap(one, classes=("no", "yes"))(X)
    assert torch.equal(logits[:, 1], NET(X)[:, 0])
    assert (logits[:, 0] == 0).all()
    assert lab.attack("pgd", lab.wrap(one), X, logits.argmax(1), eps=0.3).success.any()


def test_the_network_stays_as_it_was_and_weights_follow_the_wrapper():
    net = Small().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    model = lab.wrap(net, mean=0.5)
    lab.attack("bim", model, X, 0)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert next(lab.wrap(Small()).double().parameters()).dtype == torch.float64
    assert isinstance(model, nn.Module)


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        ({"input_range": (1, 0)}, "input_range must be two numbers, the smaller first"),
        ({"input_range": 255}, "input_range must be two numbers"),
        ({"channels": "GBR"}, "channels must be 'RGB' or 'BGR', not 'GBR'"),
        ({"mean": "0.5"}, "mean must be a finite number or several"),
        ({"mean": float("nan")}, "mean must be a finite number"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be above 0"),
        ({"mean": (0, 0, 0), "std": (1, 1)}, "mean and std must be as many"),
        ({"classes": 1}, "classes must be two names or more"),
        ({"classes": "cats"}, "classes must be two names or more"),
        ({"output": 1.5}, "output must be a key"),
    ],
)
def test_what_makes_no_sense_is_refused(options, telling):
    with refused(lab.ParamError, telling):
        lab.wrap(NET, **options)


def test_an_answer_without_logits_is_told():
    with refused(lab.ModelError, "lab.wrap takes a network"):
        lab.wrap("resnet18")
    with refused(lab.ModelError, "a dict, has no tensor at output='scores'"):
        lab.wrap(lambda x: {"logits": NET(x)}, output="scores")(X)
    with refused(lab.ModelError, "answers 10 classes, and 3 were named"):
        lab.attack("fgsm", lab.wrap(NET, classes=3), X, 0)
    with refused(lab.ModelError, "answered dict"):
        lab.wrap(lambda x: {"a": 1})(X)
