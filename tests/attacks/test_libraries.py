"""The lab's attacks beside the public libraries: equal where the algorithm is deterministic, else as good.

foolbox comes with requirements-dev.txt (its FGSM and BIM are in test_parity.py); torchattacks asks for old versions of
other packages, so `make test` installs it without them.
"""

import warnings

import pytest
import torch

import lab
from tests.support.nets import Small, images

EPS, ALPHA, STEPS = 0.06, 0.017, 7
SUCCESS, NORM = 0.01, 0.03
"""How far apart shares of fooled images and median norms may be."""


def quietly(name, how):
    """A library, imported; its own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is missing: {how}")


@pytest.fixture(scope="module")
def torchattacks():
    return quietly("torchattacks", "pip install --no-deps torchattacks==3.5.1")


@pytest.fixture(scope="module")
def foolbox():
    return quietly("foolbox", "pip install -r requirements-dev.txt")


def smooth(dtype, n=6):
    """A smooth model, images with pixels near both ends of the range, and their classes."""
    model, x = Small(3).to(dtype).eval(), images(n, 3).to(dtype)
    x[:, :, :2] *= 0.05
    x[:, :, -2:] = 1 - x[:, :, -2:] * 0.05
    return model, x, model(x).argmax(1)


BUDGET = {"eps": EPS, "alpha": ALPHA, "steps": STEPS}
DETERMINISTIC = {
    "fgsm": ("FGSM", {"eps": EPS}, {}, {}),
    "bim": ("BIM", BUDGET, {}, {}),
    "mi_fgsm": ("MIFGSM", BUDGET, {"momentum": 0.9}, {"decay": 0.9}),
    "ni_fgsm": ("NIFGSM", BUDGET, {"momentum": 0.9}, {"decay": 0.9}),
    "si_ni_fgsm": ("SINIFGSM", BUDGET, {"momentum": 0.9, "scales": 4}, {"decay": 0.9, "m": 4}),
    "ti_fgsm": ("TIFGSM", BUDGET, {"momentum": 0.9, "smooth": 7}, {"decay": 0.9, "len_kernel": 7, "diversity_prob": 0}),
}
"""The lab's key -> the class of torchattacks, what both take, what each calls its own way."""


@pytest.mark.parametrize("key", DETERMINISTIC)
@pytest.mark.parametrize("targeted", [False, True])
def test_deterministic_attacks_are_torchattacks(torchattacks, key, targeted):
    exact = key != "ti_fgsm"  # the kernel of torchattacks is in 32 bits
    model, x, y = smooth(torch.float64 if exact else torch.float32)
    kind, both, ours, theirs = DETERMINISTIC[key]
    target = (y + 3) % 10 if targeted else None
    method = getattr(torchattacks, kind)(model, **both, **theirs)
    if targeted:
        method.set_mode_targeted_by_label(quiet=True)
    expected = method(x, y if target is None else target)
    found = lab.attack(key, model, x, y, target=target, **both, **ours).x
    assert not torch.equal(found, x)
    assert (found - expected).abs().max() <= (1e-12 if exact else 1e-6)


@pytest.fixture(scope="module")
def clothes():
    """A bundled model and 300 test images that it gets right."""
    model, data = lab.load_model("fashion_mnist/mlp"), lab.load_data("fashion_mnist")
    right = (model(data.x[:500]).argmax(1) == data.y[:500]).nonzero().flatten()[:300]
    assert len(right) == 300
    return model, data.x[right], data.y[right]


def fooled(model, x, y):
    return model(x).argmax(1) != y


def length(x, clean, norm):
    d = (x - clean).flatten(1)
    return d.abs().amax(1) if norm == "linf" else d.norm(dim=1)


def run_foolbox(foolbox, attack, model, x, y, **budget):
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return attack.run(wrapped, x, foolbox.criteria.Misclassification(y), **budget)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 6 / 255), ("l2", 0.5)])
def test_pgd_fools_as_many_as_foolboxs(foolbox, clothes, norm, eps):
    """From another random start, so not equal; both end on the edge of the budget, hence the norms."""
    model, x, y = clothes
    kinds = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}
    torch.manual_seed(0)
    attack = kinds[norm](abs_stepsize=eps / 10, steps=40, random_start=True)
    theirs = run_foolbox(foolbox, attack, model, x, y, epsilon=eps)
    ours = lab.attack("pgd", model, x, y, eps=eps, alpha=eps / 10, steps=40, norm=norm)
    share = fooled(model, theirs, y).double().mean()
    assert 0.2 < share < 0.8
    assert abs(ours.success.double().mean() - share) <= SUCCESS
    median = length(theirs, x, "l2").median().item()
    assert ours.distance["l2"].median().item() == pytest.approx(median, rel=NORM)


SMALLEST = {
    "deepfool": ("L2DeepFoolAttack", {}, {"candidates": 10}),
    "cw": (
        "L2CarliniWagnerAttack",
        {"steps": 100},
        {"binary_search_steps": 5, "stepsize": 0.01, "initial_const": 0.01},
    ),
    "fmn": ("L2FMNAttack", {"steps": 50}, {}),
}
"""The lab's key -> the class of foolbox, what both take, what foolbox takes besides."""


@pytest.mark.parametrize("key", list(SMALLEST))
def test_the_smallest_perturbations_are_no_larger_than_foolboxs(foolbox, clothes, key):
    model, x, y = (clothes[0], clothes[1][:60], clothes[2][:60])
    kind, both, theirs = SMALLEST[key]
    found = run_foolbox(foolbox, getattr(foolbox.attacks, kind)(**both, **theirs), model, x, y)
    ours = lab.attack(key, model, x, y, **both)
    hit = fooled(model, found, y)
    assert ours.success.double().mean() >= hit.double().mean() - SUCCESS
    assert ours.distance["l2"][ours.success].median() <= (1 + NORM) * length(found, x, "l2")[hit].median()


def test_linf_deepfool_is_no_larger_than_foolboxs(foolbox, clothes):
    model, x, y = clothes
    found = run_foolbox(foolbox, foolbox.attacks.LinfDeepFoolAttack(candidates=10), model, x, y)
    ours = lab.attack("deepfool", model, x, y, norm="linf")
    assert ours.success.all()
    hit = fooled(model, found, y)
    assert ours.distance["linf"].median() <= (1 + NORM) * length(found, x, "linf")[hit].median()


def test_square_fools_as_many_as_torchattacks(torchattacks, clothes):
    """Random search, so the squares differ; 300 images leave about two points of chance."""
    (model, x, y), eps = clothes, 8 / 255
    expected = torchattacks.Square(model, eps=eps, n_queries=300, seed=1)(x, y)
    share = fooled(model, expected, y).double().mean()
    assert 0.2 < share < 0.9
    ours = lab.attack("square", model, x, y, eps=eps, steps=300, seed=1)
    assert ours.success.double().mean() >= share - 0.02 - SUCCESS
