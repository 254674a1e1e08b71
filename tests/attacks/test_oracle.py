"""On a linear model the smallest perturbation is known, so attacks succeed just beyond it and fail just below."""

import pytest
import torch

import lab
from lab.attacks.gradient import input_gradient
from lab.types import Goal
from tests.support.optimum import ROOM, known_optimum


def succeeds(key, model, x, y, target, radius, norm, steps=None):
    """One image at a time, each with its own radius."""
    found = []
    for i in range(len(x)):
        row = slice(i, i + 1)
        aim = None if target is None else target[row]
        eps = radius[i].item()
        params = {"eps": eps, "norm": norm} | ({"steps": steps, "alpha": eps / 5} if steps else {})
        found.append(lab.attack(key, model, x[row], y[row], target=aim, seed=i, **params).success.item())
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize(("key", "steps"), [("bim", 10), ("pgd", 40)])
def test_the_smallest_radius_is_found(norm, targeted, classes, key, steps):
    model, x, y, nearest, radius = known_optimum(classes, norm)
    assert len(x) >= 10
    target = nearest if targeted else None
    assert not any(succeeds(key, model, x, y, target, 0.99 * radius, norm, steps))
    assert all(succeeds(key, model, x, y, target, 1.01 * radius, norm, steps))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_step_is_optimal_between_two_classes(norm):
    model, x, y, _, radius = known_optimum(2, norm)
    assert not any(succeeds("fgsm", model, x, y, None, 0.99 * radius, norm))
    assert all(succeeds("fgsm", model, x, y, None, 1.01 * radius, norm))


def test_the_gradient_keeps_its_direction_where_the_model_is_certain() -> None:
    """In 32 bits, at margins where softmax rounds to 1, as in 64."""
    net = torch.nn.Linear(12, 5, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.randn(5, 12, generator=torch.Generator().manual_seed(3)) * 12)
    x = torch.rand(20, 12, generator=torch.Generator().manual_seed(4))
    y = net(x).argmax(1)
    goal = Goal(y)
    margins = goal.margin(net(x))
    certain = (margins > 17) & (margins < 80)
    assert certain.sum() >= 5
    single = input_gradient(net, x, goal.loss)[1][certain].double()
    double = input_gradient(net.double(), x.double(), goal.loss)[1][certain]
    unit = [g / g.abs().amax(1, keepdim=True) for g in (single, double)]
    cosine = torch.nn.functional.cosine_similarity(*unit)
    assert cosine.min() > 1 - 1e-6


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_deepfool_ends_at_the_boundary(norm, targeted, classes):
    """On a linear model one step is exact: the overshoot is all that it wastes."""
    model, x, y, nearest, radius = known_optimum(classes, norm)
    result = lab.attack("deepfool", model, x, y, target=nearest if targeted else None, norm=norm, overshoot=0.02)
    assert result.success.all()
    assert (result.distance[norm] <= 1.03 * radius.flatten()).all()
    assert (result.distance[norm] >= radius.flatten() * 0.999).all()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(
    ("key", "norm", "params"),
    [
        ("cw", "l2", {"searches": 14, "steps": 150}),
        ("lbfgs", "l2", {"searches": 12, "weight": 0.01}),
        ("fmn", "l2", {}),
        ("fmn", "linf", {"norm": "linf"}),
        ("fab", "l2", {"norm": "l2"}),
        ("fab", "linf", {}),
    ],
)
def test_a_minimum_norm_attack_ends_near_the_smallest_distance(key, norm, params, targeted):
    model, x, y, nearest, radius = known_optimum(5, norm)
    result = lab.attack(key, model, x, y, target=nearest if targeted else None, **params)
    assert result.success.all()
    assert (result.distance[norm] <= 1.05 * radius).all()
    assert (result.distance[norm] >= 0.999 * radius).all()


def test_in_l1_the_whole_change_goes_into_the_steepest_value():
    """Between two classes, far from the ends of the range, one value is the cheapest way."""
    model, x, y, _, _ = known_optimum(2, "l2")
    steep = (model.w[0] - model.w[1]).abs().max()
    with torch.no_grad():
        radius = Goal(y).margin(model(x)) / steep
    room = radius < ROOM
    result = lab.attack("fmn", model, x[room], y[room], norm="l1", steps=300)
    assert room.sum() >= 5
    assert result.success.all()
    assert (result.distance["l1"] <= 1.05 * radius[room]).all()
    assert (result.distance["l1"] >= 0.999 * radius[room]).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("key", ["apgd", "autoattack"])
def test_the_strongest_attacks_find_the_smallest_radius_too(key, norm):
    model, x, y, _, radius = known_optimum(5, norm)
    for i in range(0, len(x), 4):
        row, eps = slice(i, i + 1), float(radius[i])
        more = {"version": "quick"} if key == "autoattack" else {}
        assert not lab.attack(key, model, x[row], y[row], eps=0.99 * eps, norm=norm, **more).success.item()
        assert lab.attack(key, model, x[row], y[row], eps=1.01 * eps, norm=norm, **more).success.item()


def test_jsma_changes_the_pair_that_the_saliency_map_names():
    """Against a search over all pairs by equation 8, with the softmax as the network's output."""
    model, x, y, nearest, _ = known_optimum(5, "l2")
    i, aim = 3, int(nearest[3])
    one = x[i : i + 1].clone().requires_grad_()
    jacobian = torch.stack([torch.autograd.grad(model(one).softmax(1)[0, k], one)[0].flatten() for k in range(5)])
    a, b = jacobian[aim], jacobian.sum(0) - jacobian[aim]
    pairs = [(p, q) for p in range(48) for q in range(p) if a[p] + a[q] > 0 and b[p] + b[q] < 0]
    best = max(pairs, key=lambda pair: -(a[list(pair)].sum() * b[list(pair)].sum()))
    result = lab.attack("jsma", model, x[i : i + 1], y[i : i + 1], target=aim, theta=0.01, gamma=0.05)
    changed = (result.x - x[i : i + 1]).flatten().nonzero().flatten().tolist()
    assert sorted(best) == changed


@pytest.mark.parametrize("theta", [0.1, 0.4, 1.0])
def test_jsma_changes_no_more_values_than_it_may(theta):
    """However often a value is changed until its range ends; the model is never fooled, so that all steps are taken."""
    model, x, y, _, _ = known_optimum(3, "l2")
    with torch.no_grad():
        model.b[y[0]] += 1000
    result = lab.attack("jsma", model, x[:1], y[:1], theta=theta, gamma=6 / 48, direction="both")
    assert not result.success.any()
    assert 4 <= result.distance["l0"].item() <= 6
