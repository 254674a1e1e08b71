"""What public libraries get wrong, asked of the attacks that could; the mistake and its owner stand above each test.

What test_conformance.py, test_bad_input.py and test_parity.py hold already is not repeated: the state of the model and
of the world's random numbers, batch-mates, gray images, momentum after a zero gradient, the evaluation of the last
step, outputs that want gradients, and bad input.
"""

import pytest
import torch
from torch import nn

import lab
from lab.attacks import CATALOG
from lab.progress import Progress
from tests.support.attacks import ATTACKS, CASES, case, has, length, over, settings_of
from tests.support.nets import Small, images

CLOSEST = [key for key, spec in CATALOG.items() if spec.keep == "closest"]
SMALLEST = pytest.mark.parametrize("key", CLOSEST)


class Only(nn.Module):
    """Sees class 0 in everything but black images; not constant, so that attacks have a way to go, to white."""

    def forward(self, x):
        bright = x.flatten(1).mean(1)
        black = (x.flatten(1).amax(1) == 0) * 100.0
        return torch.stack([10 - bright, black + bright.square(), 1 + bright], 1)


# foolbox's C&W hands back a black image where it failed, and calls it a success if black is another class.
@ATTACKS
def test_an_image_that_cannot_be_fooled_is_not_blackened(key, norm):
    x = images(2)
    result = lab.attack(key, Only(), x, 0, **settings_of(key, norm))
    assert not result.success.any()
    assert (result.x.flatten(1).amax(1) > 0.05).all()
    assert (result.predictions == 0).all()


# torchattacks' C&W starts from a loss that is not invariant: with logits - 100 it fools nobody.
@ATTACKS
def test_a_number_added_to_all_logits_changes_nothing(key, norm):
    model, x, y = case(dtype=torch.float64)
    plain = lab.attack(key, model, x, y, **settings_of(key, norm))
    for shift in (-100, 100):
        shifted = lab.attack(key, lambda z, shift=shift: model(z) + shift, x, y, **settings_of(key, norm))
        assert torch.equal(plain.success, shifted.success)
        assert (plain.x - shifted.x).abs().max() <= 1e-6


# torchattacks' JSMA assumes ten classes, and so does its AutoAttack.
@ATTACKS
def test_the_number_of_classes_is_the_models(key, norm):
    model, x = Small(classes=13).eval(), images(4)
    with torch.no_grad():
        model.head.bias[12] += 10
        assert (model(x).argmax(1) == 12).sum() >= 2
    y = torch.tensor([12, 12, 0, 11])
    result = lab.attack(key, model, x, y, **settings_of(key, norm))
    assert result.x.isfinite().all()
    assert torch.equal(result.success, model(result.x).argmax(1) != y)


# adv-lib's DDN with 10 steps and its C&W with 5 divide by zero.
@over([(k, n) for k, n in CASES if k in CLOSEST and has(k, "steps")])
@pytest.mark.parametrize("steps", [2, 5, 10])
def test_few_steps_are_enough_for_a_picture(key, norm, steps):
    model, x, y = case()
    result = lab.attack(key, model, x, y, **settings_of(key, norm, steps=steps))
    assert result.x.isfinite().all()
    assert (length(result.x - x, "l2") > 0).all()
    assert torch.equal(result.success, model(result.x).argmax(1) != y)


# captum counts gradients under 1e-6 as zero, which leaves most pixels of a flat model as they were.
@pytest.mark.parametrize("key", ["fgsm", "bim", "mi_fgsm", "ni_fgsm", "si_ni_fgsm", "ti_fgsm", "vmi_fgsm", "vni_fgsm"])
def test_small_gradients_count(key):
    model, x, y = case()
    steps = {} if key == "fgsm" else {"steps": 1}
    result = lab.attack(key, lambda z: 1e-7 * model(z), x, y, eps=0.05, **steps)
    assert ((result.x - x).abs() > 0.049).all()


# ART's DeepFool ignores the label: it changes an image that is misclassified already.
@SMALLEST
def test_an_image_that_is_misclassified_already_is_given_back(key):
    model, x, y = case()
    wrong = (y + 1) % 10
    result = lab.attack(key, model, x, wrong, **settings_of(key, None))
    assert result.success.all()
    assert torch.equal(result.x, x)


# ART's C&W keeps the first weight that succeeds; the search has to go on for smaller ones.
@pytest.mark.parametrize("key", ["cw", "lbfgs"])
def test_more_searches_find_smaller_perturbations(key):
    model, x, y = case(n=8)
    few, many = (lab.attack(key, model, x, y, searches=n, steps=40, weight=100.0) for n in (1, 7))
    assert few.success.all()
    assert many.success.all()
    assert (many.distance["l2"] <= few.distance["l2"] + 1e-6).all()
    assert many.distance["l2"].mean() < 0.95 * few.distance["l2"].mean()


# ART's Square spends 303 evaluations of a budget of 100.
def test_square_keeps_to_its_budget():
    for steps in (1, 2, 7, 100):
        assert (lab.attack("square", Only(), images(2), 0, eps=0.1, steps=steps).queries <= steps).all()


# torchattacks' DeepFool stops on the boundary: 20 of 32 images changed but not fooling.
@SMALLEST
def test_no_image_ends_on_the_boundary(key):
    """Images with black ground, where clipping undoes part of every step."""
    model, data = lab.load_model("fashion_mnist/mlp"), lab.load_data("fashion_mnist").rows(slice(0, 24))
    y = model(data.x).argmax(1)
    result = lab.attack(key, model, data.x, y)
    assert result.success.all()
    assert (model(result.x).argmax(1) != y).all()


# No library gives back what it has when it is interrupted.
@ATTACKS
def test_an_interrupted_attack_gives_what_it_has(key, norm):
    model, x, y = case()
    result = lab.attack(key, model, x, y, progress=Progress(stop=lambda: True), **settings_of(key, norm))
    assert not result.complete
    assert result.x.shape == x.shape
    assert result.x.isfinite().all()
    assert torch.equal(result.predictions, model(result.x).argmax(1))
    assert torch.equal(result.success, result.predictions != y)
