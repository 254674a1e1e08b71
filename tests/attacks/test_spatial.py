"""The spatial attack moves pictures as it says and finds the worst of its grid."""

import math

import pytest
import torch

import lab
from lab.attacks.spatial import Spatial, moved
from lab.gate import make_goal
from lab.types import Access
from tests.support.driver import run
from tests.support.nets import Small, images


def test_nothing_moves_by_nothing():
    x = images(2)
    assert torch.allclose(moved(x, (0.0, 0.0, 0.0)), x, atol=1e-6)


def test_a_quarter_turn_is_exact_and_clockwise():
    x = images(2)
    assert torch.allclose(moved(x, (90.0, 0.0, 0.0)), torch.rot90(x, -1, (2, 3)), atol=1e-5)
    assert torch.allclose(moved(x, (-90.0, 0.0, 0.0)), torch.rot90(x, 1, (2, 3)), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (6, 10)])
def test_a_shift_by_whole_pixels_is_exact_and_leaves_black(shape):
    height, width = shape
    x = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    shifted = moved(x, (0.0, 2 / width, -1 / height))  # two right, one up
    assert torch.allclose(shifted[..., :-1, 2:], x[..., 1:, :-2], atol=1e-5)
    assert shifted[..., -1, :].abs().max() < 1e-5
    assert shifted[..., :2].abs().max() < 1e-5


def test_an_oblong_picture_is_turned_not_sheared():
    """Distances from the middle stay: of 8 x 16 pixels, a spot to the right ends below the middle."""
    x = torch.zeros(1, 1, 8, 16)
    x[0, 0, 3:5, 9:11] = 1  # two pixels right of the middle
    turned = moved(x, (90.0, 0.0, 0.0))[0, 0]
    assert math.isclose(turned.sum().item(), 4, abs_tol=1e-3)
    rows, columns = torch.meshgrid(torch.arange(8.0) - 3.5, torch.arange(16.0) - 7.5, indexing="ij")
    assert abs((turned * columns).sum() / 4) < 1e-3
    assert math.isclose((turned * rows).sum().item() / 4, 2, abs_tol=1e-3)


@pytest.mark.parametrize("search", ["grid", "random"])
@pytest.mark.parametrize("targeted", [False, True])
def test_the_worst_of_all_places_is_found(search, targeted):
    model, x = Small(), images(3)
    with torch.no_grad():
        y = model(x).argmax(1)
    goal = make_goal(x, y, (y + 1) % 10 if targeted else None)
    attack = Spatial(search=search, steps=30, angles=7, shifts=3)
    result = run(attack, model, x, goal, access=Access.SCORES, seed=4)
    places = list(attack.places(torch.Generator().manual_seed(4)))
    assert len(places) == (30 if search == "random" else 7 * 3 * 3 - 1)
    with torch.no_grad():
        margins = torch.stack([goal.margin(model(moved(x, p))) for p in places])
        assert torch.allclose(goal.margin(model(result.x)), margins.amin(0), atol=1e-5)
    assert result.queries.tolist() == [len(places)] * 3


def test_the_grid_is_tried_from_the_smallest_movement_on():
    attack = Spatial(search="grid", angles=5, shifts=3)
    sizes = [
        math.hypot(a / attack.angle, r / attack.shift, d / attack.shift) for a, r, d in attack.places(torch.Generator())
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0
    first = lab.attack("spatial", Small(), images(6), 0, search="grid", angles=5, shifts=3)
    assert (first.queries <= len(sizes)).all()


def test_places_stay_within_their_limits():
    places = torch.tensor(list(Spatial(steps=500, angle=20, shift=0.2).places(torch.Generator().manual_seed(0))))
    limits = torch.tensor([20, 0.2, 0.2])
    assert (places.abs() <= limits).all()
    assert (places.amax(0) > 0.9 * limits).all()
    assert (places.amin(0) < -0.9 * limits).all()


def test_a_grid_of_one_place_is_nothing_to_try():
    x = images(2)
    result = lab.attack("spatial", Small(), x, 0, search="grid", angles=1, shifts=1)
    assert torch.equal(result.x, x)
