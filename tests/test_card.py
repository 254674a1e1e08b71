"""A second device, pretended: what lies there and what lies on the CPU is used together, and the answers are the CPU's.

The rest of the suite runs with the lab's models on that device by `pytest --device card`.
"""

import copy

import pytest
import torch
from torch import nn

import lab
from lab import devices
from lab.attacks.catalog import CATALOG
from lab.cli import main
from lab.defenses.catalog import CATALOG as DEFENSES
from lab.defenses.catalog import detector
from lab.defenses.detect import scores
from lab.defenses.smoothing import Smoothed
from lab.experiments.robustness.sanity import check
from lab.models.ensemble import Ensemble
from lab.predict import classes_of, logits_of

PLACES = ("cpu", "card")
DATA = lab.load_data("mnist").rows(slice(0, 6))
QUICK = {"steps": 3, "searches": 2, "samples": 10, "population": 10, "version": "quick"}
mixes = pytest.mark.parametrize(("there", "here"), [("card", "cpu"), ("cpu", "card"), ("card", "card")])


@pytest.fixture(autouse=True)
def _chosen_anew():
    before = devices._chosen
    yield
    devices.choose(before)


def model(place, key="mnist/cnn_small"):
    return lab.load_model(key).to(place)


def plain(place):
    """Anyone's network, no model of the lab."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval().to(place)


def where(tensors):
    return {t.device.type for t in tensors}


def test_the_card_refuses_to_mix_as_another_device_does():
    x = torch.ones(2, device="card")
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(2)
    with pytest.raises(RuntimeError, match="same device"):
        plain("card")(DATA.x)
    with pytest.raises(TypeError, match="can't convert card:0"):
        x.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device="card", generator=torch.Generator())
    assert (x + 1).cpu().tolist() == [2, 2]


def test_readmes_first_example_runs_where_a_card_is_the_default():
    devices.choose("card")
    network = lab.load_model("imagenet/efficientnet_lite0")
    x = lab.load_picture("cat", network.card)
    assert where(network.parameters()) == {"card"}
    assert x.device.type == "cpu"
    logits = network(x)
    assert logits.device.type == "cpu"
    assert network.card.classes[int(logits.argmax())]


STANDING = {
    "classifier": lambda there, other: model(there),
    "ensemble": lambda there, other: Ensemble([model(there), model(other, "mnist/mlp")]),
    "defended": lambda there, other: lab.defend("jpeg", plain(there), backward="bpda"),
    "random": lambda there, other: lab.defend("resize_pad", plain(there), draws=2),
    "guarded": lambda there, other: detector("squeezing").known(model(there), 0.1),
    "capsules, guarded": lambda there, other: detector("reconstruction").known(model(there, "mnist/capsnet"), 5.0),
    "smoothed": lambda there, other: Smoothed(plain(there), 0.1, 4),
    "wrapped": lambda there, other: lab.wrap(plain(there), input_range=(0, 255), mean=0.5, std=2),
}


@mixes
@pytest.mark.parametrize("kind", STANDING)
def test_a_model_answers_where_it_is_asked_and_its_gradient_comes_back(kind, there, here):
    def asked(at, x):
        x = x.clone().requires_grad_()
        logits = STANDING[kind](at, "cpu")(x)
        return logits.detach(), torch.autograd.grad(logits.square().sum(), x)[0]

    logits, slope = asked(there, DATA.x.to(here))
    assert where([logits, slope]) == {here}
    for found, right in zip((logits, slope), asked("cpu", DATA.x), strict=True):
        assert torch.allclose(found.cpu(), right, atol=1e-5)


@mixes
@pytest.mark.parametrize("key", CATALOG)
def test_every_attack_finds_the_same_wherever_model_images_and_labels_lie(key, there, here):
    params = {p.name for p in CATALOG[key].params}
    params = {name: value for name, value in QUICK.items() if name in params} | (
        {"eps": 0.1} if "eps" in params else {}
    )
    x, y = DATA.x[:3], DATA.y[:3]
    found = lab.attack(key, model(there, "mnist/mlp"), x.to(here), y.to(there), seed=3, **params)
    right = lab.attack(key, model("cpu", "mnist/mlp"), x, y, seed=3, **params)
    assert where([found.x, found.success, found.predictions, *found.distance.values()]) == {here}
    assert torch.equal(found.success.cpu(), right.success)
    assert torch.allclose(found.x.cpu(), right.x, atol=1e-5)
    assert torch.equal(found.queries.cpu(), right.queries)


@mixes
def test_targets_starts_sizes_and_traces_lie_anywhere(there, here):
    goal, eps = (DATA.y + 1) % 10, torch.linspace(0.05, 0.3, 6)
    more = {"steps": 4, "restarts": 2}

    def found(there, here, beside):
        asked = {"target": goal.to(beside), "eps": eps.to(beside), "start": (1 - DATA.x).to(beside)}
        return lab.attack("pgd", model(there), DATA.x.to(here), DATA.y.tolist(), **asked, **more)

    assert torch.allclose(found(there, here, there).x.cpu(), found("cpu", "cpu", "cpu").x, atol=1e-6)
    frames = lab.attack("cw", model(there), DATA.x.to(here), DATA.y, trace=3, steps=5, searches=1).frames
    assert where([frames[0].x, frames[0].margin]) == {"cpu"}


PUBLIC = {
    "classes": lambda model, x, y: classes_of(model, x),
    "logits": lambda model, x, y: logits_of(model, x),
    "clever": lambda model, x, y: lab.clever(model, x, batches=10, samples=8, targets=(y + 1) % 10).scores,
    "clever, second order": lambda model, x, y: (
        lab.clever(
            lab.load_model("mnist/rbf").to(next(model.parameters()).device), x[:2], batches=10, samples=4, order=2
        ).scores
    ),
    "certify": lambda model, x, y: lab.certify(model, x, sigma=0.1, n=40, n0=20).radius,
    "suspicion": lambda model, x, y: scores(detector("squeezing"), model, x),
    "transfer": lambda model, x, y: lab.transfer([model, "mnist/softmax"], [model], x, y, "fgsm", eps=0.2).success,
    "evaluate": lambda model, x, y: list(lab.evaluate({"m": model}, ["pgd"], x, y, [0.1, 0.2], steps=3))[-1][0].needed,
}


@mixes
@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_says_the_same_wherever_things_lie(name, there, here):
    found = PUBLIC[name](model(there), DATA.x.to(here), DATA.y.to(there))
    right = PUBLIC[name](model("cpu"), DATA.x, DATA.y)
    assert torch.allclose(found.cpu().double(), right.double(), atol=1e-4)
    if name in ("clever", "certify"):
        assert found.device.type == here


@mixes
def test_checks_say_the_same_wherever_things_lie(there, here):
    def said(there, here):
        asked = check(model(there), DATA.x.to(here), DATA.y.to(there), 0.1, source=model("cpu", "mnist/mlp"))
        return [(each.question, each.passed) for each in asked]

    assert said(there, here) == said("cpu", "cpu")


@pytest.mark.parametrize("key", DEFENSES)
def test_a_transformation_draws_the_same_on_both(key):
    found = lab.defend(key, plain("card"), seed=5)(DATA.x.to("card"))
    assert torch.allclose(found.cpu(), lab.defend(key, plain("cpu"), seed=5)(DATA.x), atol=1e-5)


COMMANDS = {
    "attack": "attack --model mnist/mlp --attack pgd --dataset mnist --limit 4 --param eps=0.2",
    "transfer": "transfer --models mnist/mlp,mnist/softmax --attack fgsm --dataset mnist --limit 8",
    "clever": "clever --model mnist/mlp --dataset mnist --limit 1 --norm 2 --batches 10 --samples 10",
    "evaluate": "evaluate --models mnist/mlp --attacks fgsm,fmn --eps 0,0.1 --dataset mnist --limit 6 --param steps=5",
    "blackbox": "blackbox --oracle mnist/mlp --dataset mnist --initial 40 --limit 40 --param rounds=2",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_the_same_on_both(name, capsys):
    said = []
    for place in PLACES:
        assert main([*COMMANDS[name].split(), "--device", place]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0]


def test_a_copy_of_a_net_lies_where_it_lay():
    copied = copy.deepcopy(plain("card"))
    assert where(copied.parameters()) == {"card"}
    assert [type(p) for p in copied.parameters()] == [type(p) for p in plain("card").parameters()]
