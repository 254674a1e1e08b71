"""Laws that the norms and the gradient loop obey, whatever the numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lab
from lab.attacks.norms import NORMS, movable
from tests.support.nets import Small, images

laws = settings(derandomize=True, database=None, deadline=None, max_examples=40)
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])
every_norm = pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
seeds = st.integers(0, 10_000)
radii = st.floats(0, 2)
scales = st.integers(-30, 8).map(lambda e: 10.0**e)


def random(seed, n=4, spread=1.0):
    return torch.randn(n, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


def clean(seed):
    """In [0,1], with pixels at both ends."""
    return (random(seed) * 0.5 + 0.5).clamp(0, 1)


@every_norm
@laws
@given(seed=seeds, eps=radii, spread=st.floats(0.01, 10))
def test_projection_ends_inside_and_then_rests(norm, seed, eps, spread):
    x = clean(seed)
    project = NORMS[norm].ball(x, eps)
    z = project(x + random(seed + 1, spread=spread))
    assert (NORMS[norm].length(z - x) <= eps + 1e-9).all()
    assert z.min() >= 0
    assert z.max() <= 1
    assert torch.allclose(project(z), z, rtol=0, atol=1e-12)


@every_norm
@laws
@given(seed=seeds, eps=radii, spread=st.floats(0.01, 10))
def test_projection_never_moves_two_points_apart(norm, seed, eps, spread):
    x = clean(seed)
    project = NORMS[norm].ball(x, eps)
    a, b = x + random(seed + 1, spread=spread), x + random(seed + 2, spread=spread)
    before, after = (a - b).flatten(1).norm(dim=1), (project(a) - project(b)).flatten(1).norm(dim=1)
    assert (after <= before + 1e-9).all()


@every_norm
@laws
@given(seed=seeds, eps=radii)
def test_projection_leaves_what_is_inside(norm, seed, eps):
    x = clean(seed)
    inside = (x + 0.99 * eps * NORMS[norm].sample(torch.Generator().manual_seed(seed), x)).clamp(0, 1)
    assert torch.allclose(NORMS[norm].ball(x, eps)(inside), inside, rtol=0, atol=1e-12)


@every_norm
@laws
@given(seed=seeds, scale=scales)
def test_the_steepest_step_has_unit_norm_and_ignores_the_gradients_scale(norm, seed, scale):
    g = random(seed).float()
    step = NORMS[norm].steepest(g)
    assert torch.allclose(NORMS[norm].length(step), torch.ones(len(g)), rtol=0, atol=1e-5)
    assert torch.allclose(NORMS[norm].steepest(g * scale), step, rtol=0, atol=1e-5)


@both_norms
@laws
@given(seed=seeds)
def test_no_step_of_that_norm_climbs_faster(norm, seed):
    g = random(seed, n=1)
    others = NORMS[norm].steepest(random(seed + 1, n=30))
    assert ((others * g).sum(dim=(1, 2, 3)) <= (NORMS[norm].steepest(g) * g).sum() + 1e-12).all()


@both_norms
def test_the_steepest_step_of_a_zero_gradient_is_zero(norm):
    g = torch.zeros(2, 3, 4, 4)
    g[1, 0, 0, 0] = 5
    step = NORMS[norm].steepest(g)
    assert torch.equal(step[0], torch.zeros(3, 4, 4))
    assert NORMS[norm].length(step)[1] == 1


@every_norm
@laws
@given(seed=seeds)
def test_a_random_point_lies_in_the_unit_ball(norm, seed):
    point = NORMS[norm].sample(torch.Generator().manual_seed(seed), torch.zeros(5, 2, 3, 3))
    assert point.shape == (1, 2, 3, 3)
    assert NORMS[norm].length(point) <= 1 + 1e-6


@pytest.mark.parametrize(("norm", "share"), [("linf", 0.5), ("l2", 0.25), ("l1", 0.25)])
def test_random_points_fill_the_ball_evenly(norm, share):
    """On two pixels: half the radius holds a quarter of a disc or of a diamond, half the width half of a square."""
    rng, like = torch.Generator().manual_seed(0), torch.zeros(1, 2, 1, 1)
    points = torch.cat([NORMS[norm].sample(rng, like) for _ in range(4000)])
    inside = (points[:, 0, 0, 0].abs() if norm == "linf" else NORMS[norm].length(points)) < 0.5
    assert inside.float().mean().item() == pytest.approx(share, abs=0.03)


@both_norms
@settings(laws, max_examples=10)
@given(seed=seeds, steps=st.integers(1, 4))
def test_without_momentum_mi_fgsm_is_bim(norm, seed, steps):
    model, x = Small(), images(2, seed=seed)
    given_ = {"eps": 0.3, "alpha": 0.1, "steps": steps, "norm": norm}
    without = lab.attack("mi_fgsm", model, x, [0, 1], momentum=0, **given_)
    assert torch.equal(without.x, lab.attack("bim", model, x, [0, 1], **given_).x)


@both_norms
@settings(laws, max_examples=10)
@given(seed=seeds)
def test_one_step_of_bim_is_fgsm(norm, seed):
    model, x = Small(), images(2, seed=seed)
    bim = lab.attack("bim", model, x, [0, 1], eps=0.1, steps=1, norm=norm)
    assert torch.equal(bim.x, lab.attack("fgsm", model, x, [0, 1], eps=0.1, norm=norm).x)


@laws
@given(seed=seeds)
def test_a_step_in_l1_moves_the_steepest_hundredth_of_the_values_alike(seed):
    g = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    step = NORMS["l1"].steepest(g).flatten(1)
    steepest = torch.zeros(2, 300).scatter(1, g.flatten(1).abs().topk(3, dim=1).indices, 1.0)
    assert torch.allclose(step, steepest * g.flatten(1).sign() / 3)


def test_a_value_at_the_end_of_its_range_moves_inwards_only():
    x, g = torch.tensor([[0.0, 0.0, 0.5, 1.0, 1.0]]), torch.tensor([[-1.0, 1.0, 1.0, -1.0, 1.0]])
    assert movable(g, x).tolist() == [[0, 1, 1, -1, 0]]
