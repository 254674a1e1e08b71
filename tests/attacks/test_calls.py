"""What one call of lab.attack can ask for: several sizes, a size for each image, restarts, starts, and mean looks."""

import pytest
import torch

import lab
from tests.support.attacks import equal
from tests.support.nets import Noisy, Small, images
from tests.support.refusals import refused

MODEL, X = Small().eval(), images(5, 3)
Y = MODEL(X).argmax(1)


def attack(key="pgd", **params):
    return lab.attack(key, MODEL, X, Y, **params)


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("key", ["pgd", "square"])
def test_a_size_for_each_image_is_a_call_for_each(key, trace):
    sizes = [0.05, "8/255", 0.0, 0.05, 0.2]
    together = attack(key, eps=sizes, steps=6, trace=trace)
    for k, size in enumerate(sizes):
        alone = lab.attack(key, MODEL, X[k : k + 1], Y[k : k + 1], eps=size, steps=6)
        assert torch.allclose(together.x[k], alone.x[0], atol=1e-6)
        assert together.success[k] == alone.success[0]
        assert together.queries[k] == alone.queries[0]
    if trace:
        assert torch.equal(together.frames[-1].x, together.x)
    assert equal(attack(key, eps=torch.full((5,), 0.125), steps=6), attack(key, eps=0.125, steps=6))


def test_what_is_no_size_for_each_image_is_refused():
    with refused(lab.ParamError, "eps must be one size, or 5, one an image, not 2"):
        attack(eps=[0.1, 0.2])
    with refused(lab.ParamError, "eps must lie between 0 and 1"):
        attack(eps=[0.1, 0.1, 0.1, 0.1, 2.0])
    with refused(lab.ParamError, "universal makes one perturbation for all images: give one eps"):
        attack("universal", eps=[0.1] * 5)


def test_several_sizes_are_a_result_each():
    several = attack("bim", epsilons=[0.2, "8/255"], steps=5)
    assert all(
        equal(found, attack("bim", eps=size, steps=5)) for found, size in zip(several, (0.2, 8 / 255), strict=True)
    )
    near, far = attack("fmn", epsilons=[0.05, 100.0], norm="l2", steps=20)
    assert torch.equal(near.x, far.x), "the smallest perturbation is looked for once"
    assert torch.equal(far.success, attack("fmn", norm="l2", steps=20).success)
    assert torch.equal(near.success, far.success & (far.distance["l2"] <= 0.05))
    with refused(lab.ParamError, "spatial is not bounded by a size: leave out epsilons"):
        attack("spatial", epsilons=[0.1])
    with refused(lab.ParamError, "epsilons needs one size or more in place of eps"):
        attack(epsilons=[0.1], eps=0.1)


def test_restarts_are_runs_with_one_seed_after_another():
    params = {"eps": 0.006, "steps": 2, "alpha": 0.003}  # the second start fools one image more than the first
    runs = [attack(seed=7 + k, **params) for k in range(3)]
    best = attack(seed=7, restarts=3, **params)
    assert torch.equal(best.success, torch.stack([r.success for r in runs]).any(0))
    for k in range(5):
        first = next((r for r in runs if r.success[k]), runs[0])
        assert torch.allclose(best.x[k], first.x[k], atol=1e-6)
        tried = next((n for n, r in enumerate(runs) if r.success[k]), 2) + 1
        assert best.queries[k] == 2 * tried
    assert equal(attack(restarts=1, **params), attack(**params))


def test_restarts_keep_the_closest():
    runs = [attack("fab", seed=k, steps=4) for k in range(2)]
    best = attack("fab", restarts=2, steps=4)
    shortest = torch.stack([torch.where(r.success, r.distance["linf"], torch.inf) for r in runs]).amin(0)
    assert torch.allclose(best.distance["linf"][best.success], shortest[best.success])
    with refused(lab.ParamError, "cannot be restarted here, for a trace shows one run"):
        attack(restarts=2, trace=True)
    with refused(lab.ParamError, "for it makes one perturbation for all images"):
        attack("universal", restarts=2)


@pytest.mark.parametrize("key", ["bim", "pgd", "apgd", "square", "spsa"])
def test_the_search_begins_where_it_is_told_within_eps_of_the_image(key):
    start = (X + 0.3).clamp(0, 1)
    told = attack(key, eps=0.1, start=start, trace=True, steps=4)
    at = told.frames[1 if key == "square" else 0].x
    assert torch.allclose(at, start.clamp(X - 0.1, X + 0.1), atol=1e-6)


@pytest.mark.parametrize("key", ["cw", "hopskipjump", "fmn", "fab", "lbfgs"])
def test_a_start_that_fools_the_model_is_where_a_closest_one_is_looked_for(key):
    other = 1 - X
    fools = MODEL(other).argmax(1) != Y
    assert fools.any()
    params = {"steps": 2, "samples": 20} if key == "hopskipjump" else {"steps": 30}
    found = attack(key, start=other, trace=True, **params)
    assert torch.equal(found.frames[0].x, X), "the images come first: one that is wrong already needs no change"
    assert found.success[fools].all()
    assert (found.distance["l2"][fools] < (other - X).flatten(1).norm(dim=1)[fools]).all()
    assert not torch.equal(found.x, attack(key, **params).x)


def test_what_is_no_start_is_refused():
    with refused(lab.ParamError, "deepfool begins where its method says: leave out start"):
        attack("deepfool", start=X)
    with refused(lab.ImageError, "starting points must have the images' shape [5, 3, 8, 8], not [2, 3, 8, 8]"):
        attack(start=X[:2])
    with refused(lab.ImageError, "pixels must lie in [0,1]"):
        attack(start=X + 5)


def test_a_random_model_is_judged_by_fresh_looks_and_told_so():
    noisy, state = Noisy(0.5).eval(), torch.get_rng_state()
    with pytest.warns(lab.LabWarning, match="answers differently at a second look: 20 fresh looks judge each image"):
        idle = lab.attack("square", noisy, X, Y, eps=0, steps=50)
    assert torch.equal(torch.get_rng_state(), state), "the world's random numbers stay as they were"
    assert idle.chance.shape == (5,)
    assert torch.equal(idle.success, idle.chance > 0.5)
    assert ((idle.interval[:, 0] <= idle.chance) & (idle.chance <= idle.interval[:, 1])).all()
    with torch.no_grad():
        wrong = torch.stack([noisy(X).argmax(1) != Y for _ in range(400)]).double().mean(0)
    assert (idle.chance - wrong).abs().max() < 0.4, "looking often wins nothing"
    assert lab.attack("square", MODEL, X, Y, eps=0, steps=5).chance is None


def test_the_mean_of_several_looks_is_attacked_and_paid_for():
    noisy = Noisy(2.0).eval()
    one, many = (lab.attack("pgd", noisy, X, Y, eps=0.3, steps=8, draws=n) for n in (1, 32))
    assert many.queries.tolist() == [32 * q for q in one.queries.tolist()]
    assert many.chance.mean() >= one.chance.mean() - 0.05
    again = lab.attack("pgd", noisy, X, Y, eps=0.3, steps=8, draws=32)
    assert torch.equal(many.x, again.x), "the same seed, the same noise"
    assert equal(attack(draws=8, steps=3), attack(steps=3)), "a model without chance is looked at once"
    with refused(lab.ParamError, "draws must be a whole number, at least 1, not 0"):
        attack(draws=0)
