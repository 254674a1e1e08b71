"""What the attacks without gradients promise: true estimates, near-optimal ends, no more pixels than said."""

import pytest
import torch

import lab
from lab.attacks.black_box import ScoreAttack, portions
from lab.attacks.hopskipjump import HopSkipJump
from lab.attacks.pixel import Pixel, paint
from lab.attacks.square import Square
from lab.gate import make_goal
from lab.types import Access, Goal
from tests.support.driver import run
from tests.support.nets import Small, images
from tests.support.optimum import centred, known_optimum


@pytest.mark.parametrize("directions", ["signs", "normal"])
@pytest.mark.parametrize("targeted", [False, True])
def test_the_estimate_is_the_gradient_of_a_linear_model(directions, targeted):
    """In the mean over many directions: what is left is the noise of the sample, sqrt(d / samples)."""
    model = centred(2)
    x = torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64)
    goal = Goal(torch.tensor([0, 1]), targeted)
    attack = ScoreAttack(samples=20_000, directions=directions)
    with torch.no_grad():
        estimate = attack.estimate(model, x, goal, torch.Generator().manual_seed(0)).flatten(1)
        way = model.w[1] - model.w[0]
    truth = torch.stack([way, -way]) * (-1 if targeted else 1)
    assert (estimate - truth).norm(dim=1).max() < 2 * (48 / 20_000) ** 0.5 * way.norm()


def test_one_direction_gives_its_own_share_of_the_gradient():
    """Exactly: (w . v) v, from two queries."""
    model, asked = centred(2), []

    def watched(x):
        asked.append(len(x))
        with torch.no_grad():
            return model(x)

    x = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    rng = torch.Generator().manual_seed(3)
    v = ScoreAttack()._direction(torch.Generator().manual_seed(3), x)
    assert v.abs().eq(1).all()
    estimate = ScoreAttack(samples=1).estimate(watched, x, Goal(torch.tensor([0])), rng)
    slope = ((model.w[1] - model.w[0]).detach() * v.flatten()).sum()
    assert torch.allclose(estimate, slope * v, rtol=1e-9)
    assert sum(asked) == 2


def test_queries_are_cut_into_calls_without_changing_the_estimate(monkeypatch):
    model, x, goal = Small().double(), images(2).double(), Goal(torch.tensor([1, 2]))
    estimates = []
    for values in (2**20, 5 * x.numel()):
        monkeypatch.setattr("lab.attacks.black_box.VALUES", {"cpu": values})
        with torch.no_grad():
            estimates.append(ScoreAttack(samples=10).estimate(model, x, goal, torch.Generator().manual_seed(1)))
    assert torch.allclose(*estimates, rtol=0, atol=1e-12)
    assert list(portions(12, x)) == [5, 5, 2]


@pytest.mark.parametrize(("key", "queries"), [("spsa", 4 * (2 * 6 + 1)), ("nes", 4 * (2 * 6 + 1)), ("square", 4)])
def test_queries_of_an_image_that_stands(key, queries):
    """A step of SPSA and NES asks for every pair of points, and where it stands."""
    params = {"steps": 4} | ({} if key == "square" else {"samples": 6})
    result = lab.attack(key, lambda x: torch.tensor([[2.0, 0.0]]).expand(len(x), 2), images(3), 0, **params)
    assert result.queries.tolist() == [queries] * 3


@pytest.mark.parametrize("key", ["spsa", "nes"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_scores_alone_find_almost_the_smallest_radius(key, norm, targeted):
    """Some radius is lost to the noise of the estimate, none won."""
    model, x, y, nearest, radius = known_optimum(2, norm)
    for i in range(5):
        row = slice(i, i + 1)
        aim = nearest[row] if targeted else None

        def success(share, row=row, aim=aim):
            eps = share * radius[row].item()
            return lab.attack(key, model, x[row], y[row], target=aim, eps=eps, norm=norm).success.item()

        assert success(1.05)
        assert not success(0.99)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_labels_alone_end_at_the_boundary(norm, targeted, classes):
    model, x, y, nearest, radius = known_optimum(classes, norm)
    aim = nearest if targeted else None
    result = lab.attack("hopskipjump", model, x, y, target=aim, norm=norm, steps=20, samples=300)
    assert result.success.all()
    assert (result.distance[norm] >= 0.999 * radius).all()
    assert (result.distance[norm] <= 1.05 * radius).all()


def bright(level):
    """A model of one class for images whose mean exceeds a level, another for the rest."""
    return lambda x: torch.stack([x.flatten(1).mean(1) * 0 + level, x.flatten(1).mean(1)], 1)


def test_an_image_without_a_start_stays_as_it_is_and_harms_no_other():
    model = bright(0.2)
    x = torch.zeros(2, 1, 4, 4)
    x[1] = 0.1
    found = lab.attack("hopskipjump", model, x, 0, steps=3)
    assert found.success.all()
    never = lab.attack("hopskipjump", bright(5.0), x, 0, steps=3)
    assert not never.success.any()
    assert torch.equal(never.x, x)
    assert torch.equal(never.queries, found.queries)


def test_a_start_may_be_given():
    """A class that no random picture has: all black but for one bright pixel."""

    def model(x):
        rare = (x[:, 0, 0, 0] > 0.9) & (x.flatten(1)[:, 1:].amax(1) < 0.05)
        return torch.stack([torch.full((len(x),), 0.5), rare.float()], 1)

    x = torch.zeros(1, 1, 8, 8)
    start = x.clone()
    start[0, 0, 0, 0] = 1
    goal = make_goal(x, [0], [1])
    settings = {"access": Access.LABELS, "keep": "closest"}
    assert not run(HopSkipJump(steps=2), model, x, goal, **settings).success.any()
    result = run(HopSkipJump(steps=2, starts=start), model, x, goal, **settings)
    assert result.success.all()
    assert abs(result.distance["l2"].item() - 0.9) < 0.01


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [1, 3])
def test_no_more_pixels_change_than_said(channels, pixels):
    model, x = Small(channels), images(4, channels)
    with torch.no_grad():
        y = model(x).argmax(1)
    attack = Pixel(pixels=pixels, steps=8, population=20)
    frames = run(attack, model, x, make_goal(x, y), access=Access.SCORES, trace=True).frames
    for f in frames[1:]:
        changed = (f.x != x).any(1).flatten(1).sum(1)
        assert (changed <= pixels).all()
        assert (changed > 0).all()
    margins = torch.stack([f.margin for f in frames[1:]])
    assert (margins.diff(dim=0) <= 1e-6).all()
    assert (margins[-1] < margins[0]).any()


def test_every_candidate_paints_its_own_pixels():
    x = torch.zeros(2, 3, 4, 5)
    genes = torch.tensor([[0.0, 0.99, 0.1, 0.2, 0.3], [0.75, 0.2, 0.4, 0.5, 0.6]]).expand(3, 2, 2, 5)
    painted = paint(x, genes)
    assert painted.shape == (3, 2, 3, 4, 5)
    assert torch.allclose(painted[1, 1, :, 0, 4], torch.tensor([0.1, 0.2, 0.3]))
    assert torch.allclose(painted[2, 0, :, 3, 1], torch.tensor([0.4, 0.5, 0.6]))
    assert (painted != 0).sum() == 3 * 2 * 6


def test_the_one_pixel_that_matters_is_found():
    """Class 1 as soon as one certain pixel of 64 is bright."""
    x = torch.zeros(2, 1, 8, 8)
    result = lab.attack("pixel", lambda x: torch.stack([torch.full((len(x),), 0.5), x[:, 0, 3, 6]], 1), x, 0)
    assert result.success.all()
    assert (result.x[:, 0, 3, 6] > 0.5).all()
    assert result.distance["l0"].tolist() == [1, 1]


@pytest.mark.parametrize("together", [1, 8])
def test_squares_tried_together_cost_a_query_each(together):
    """As many images go through the model as the queries say, and every change kept is for the better."""
    model, x, rows = Small(), images(3), []

    def watched(x):
        rows.append(len(x))
        with torch.no_grad():
            return model(x)

    attack = Square(eps=0.02, steps=200, together=together)
    with torch.no_grad():
        goal = make_goal(x, model(x).argmax(1))
    result = run(attack, watched, x, goal, access=Access.SCORES, trace=True)
    assert result.queries.tolist() == [200] * 3
    assert sum(rows) == 2 + 1 + 3 * (200 + 1)  # and the driver's looks at the start
    assert (max(rows) > 3) == (together > 1)
    margins = torch.stack([f.margin for f in result.frames[1:]])
    assert (margins.diff(dim=0) <= 1e-5).all()


def test_squares_reach_every_corner_of_the_budget():
    """On a linear model the best image has every value at +-eps, as its gradient says."""
    model, x, y, _, _ = known_optimum(2, "linf")
    result = run(Square(eps=0.01, steps=3000), model, x[:2], make_goal(x[:2], y[:2]), access=Access.SCORES)
    with torch.no_grad():
        best = (model.w[1 - y[:2]] - model.w[y[:2]]).sign() * 0.01
    agree = ((result.x - x[:2]).flatten(1) * best > 0).double().mean(1)
    assert (agree > 0.95).all()


@pytest.mark.parametrize("steps", [100, 1000, 10_000])
def test_squares_shrink_over_the_whole_of_the_search(steps):
    """Of 28 x 28 pixels 80% at first; the area halves at fixed shares of the search, however long it is."""
    sides = [Square(steps=steps)._side(int(share * steps), 28, 28) for share in (0, 0.02, 0.15, 0.5, 0.9)]
    assert sides == [round((0.8 * 784 / 2**halvings) ** 0.5) for halvings in (0, 2, 5, 7, 9)]
