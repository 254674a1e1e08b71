"""Randomized smoothing: what it promises holds, and its bounds are the textbook's."""

import json

import pytest
import torch
from scipy.stats import beta, norm

import lab
from lab.defenses.smoothing import ABSTAIN, Smoothed, certify, joined, largest_radius, predict, votes
from lab.experiments.defenses.smoothing import RADII, smoothed
from lab.progress import Progress
from lab.types import ImageError, ModelError, ParamError
from tests.support.refusals import refused


def halfspace(x):
    """Two classes, divided where the first value is 0.5."""
    first = x.flatten(1)[:, 0] - 0.5
    return torch.stack([-first, first], 1)


def images(*firsts):
    x = torch.full((len(firsts), 1, 4, 4), 0.5)
    x[:, 0, 0, 0] = torch.tensor(firsts)
    return x


def test_on_a_halfspace_the_radius_is_below_the_true_distance_and_near_it():
    x = images(0.9, 0.2, 0.65)
    found = certify(halfspace, x, sigma=0.3, n=20_000)
    true = (x[:, 0, 0, 0] - 0.5).abs()
    assert found.classes.tolist() == [1, 0, 1]
    assert (found.radius <= true).all()
    assert torch.allclose(found.radius.float(), true, atol=0.03)
    assert found.accuracy(torch.tensor([1, 0, 0]), 0.25) == pytest.approx(2 / 3)


def test_the_share_is_the_exact_lower_bound_and_the_radius_cohens_formula():
    found = certify(halfspace, images(0.7), sigma=0.5, n=500, alpha=0.01, seed=3)
    hits = int(found.votes[0, 1])
    low = beta.ppf(0.01, hits, 500 - hits + 1)
    assert float(found.share[0]) == pytest.approx(low)
    assert float(found.radius[0]) == pytest.approx(0.5 * norm.ppf(low))
    assert int(found.votes.sum()) == 500


def test_the_looks_that_choose_the_class_do_not_certify_it():
    """Else the class that chance favours would be certified by the very looks that favoured it."""
    x, seen = images(0.6), []

    def watched(z):
        seen.append(z.clone())
        return halfspace(z)

    found = certify(watched, x, sigma=0.5, n=100, n0=100, seed=3)
    first, second = seen
    assert len(first) == len(second) == 100
    assert not torch.isclose(first, second).any()
    assert torch.equal(found.votes[0], torch.bincount(halfspace(second).argmax(1), minlength=2))


def test_where_the_votes_do_not_decide_it_abstains():
    x = images(0.5001, 0.9)
    assert predict(halfspace, x, sigma=0.5, n=200).tolist() == [ABSTAIN, 1]
    found = certify(halfspace, x, sigma=0.5, n=200)
    assert found.classes.tolist() == [ABSTAIN, 1]
    assert found.radius[0] == 0
    assert found.accuracy(torch.tensor([1, 1]), 0.0) == 0.5


def test_the_largest_radius_is_that_of_looks_that_all_agree():
    far = certify(halfspace, images(1.0), sigma=0.05, n=300)
    assert float(far.radius[0]) == pytest.approx(largest_radius(0.05, 300, 0.001))
    assert largest_radius(1.0, 2000, 0.001) == pytest.approx(2.70, abs=0.01)


def test_no_attack_inside_a_certified_radius_changes_the_smoothed_vote():
    model, data = lab.load_model("mnist/cnn_noise"), lab.load_data("mnist").rows(slice(0, 6))
    found = certify(model, data.x, sigma=0.5, n=500)
    assert (found.classes == data.y).all()
    smoothed = Smoothed(model, 0.5, draws=4)
    for x, y, radius in zip(data.x, data.y, found.radius, strict=True):
        inside = 0.99 * float(radius)
        result = lab.attack("pgd", smoothed, x[None], y[None], norm="l2", eps=inside, alpha=inside / 4, steps=10)
        assert float(result.distance["l2"]) <= float(radius)
        assert int(predict(model, result.x, sigma=0.5, n=500, seed=11)) == int(y)


def test_noise_is_seeded_and_does_not_depend_on_the_images_beside():
    model, x = lab.load_model("mnist/mlp"), lab.load_data("mnist").x[:3]
    both = certify(model, x, sigma=0.25, n=200, seed=5)
    alone = joined([certify(model, x[i : i + 1], sigma=0.25, n=200, seed=5) for i in range(3)])
    assert torch.equal(both.votes, alone.votes)
    assert torch.equal(both.radius, alone.radius)
    assert not torch.equal(votes(model, x[0], 2.0, 200, 5), votes(model, x[0], 2.0, 200, 6))


def test_a_run_that_is_stopped_keeps_what_it_has():
    found = certify(halfspace, images(0.9, 0.9, 0.9), sigma=0.3, n=50, progress=Progress(stop=lambda: True))
    assert len(found.classes) == 1
    assert predict(halfspace, images(0.9, 0.9), sigma=0.3, progress=Progress(stop=lambda: True)).tolist() == [
        ABSTAIN,
        ABSTAIN,
    ]


def test_the_smoothed_model_answers_the_log_of_the_mean_probability():
    model, x = lab.load_model("mnist/softmax"), lab.load_data("mnist").x[:2]
    out = Smoothed(model, 0.5, draws=3, seed=1)(x)
    rng = torch.Generator().manual_seed(1)
    looks = [model(x + 0.5 * torch.randn(x.shape, generator=rng)).softmax(1) for _ in range(3)]
    assert torch.allclose(out.exp(), torch.stack(looks).mean(0), atol=1e-5)
    assert torch.allclose(out.logsumexp(1), torch.zeros(2), atol=1e-5)


def test_certificates_and_attacks_make_a_record_and_rows():
    data = lab.load_data("mnist").rows(slice(0, 2))
    models = {key: lab.load_model(key) for key in ("mnist/softmax", "mnist/mlp")}
    parts = list(smoothed(models, data, "mnist", sigma=0.25, looks=50, seed=2))
    assert [sum(len(c.classes) for c in p.certificates.values()) for p in parts[:4]] == [1, 2, 3, 4]
    last = parts[-1]
    assert set(last.attacked) == {"unaware", "aware"}
    assert all(tuple(r for r, _ in points) == RADII for points in last.attacked.values())
    alone = certify(models["mnist/mlp"], data.x, sigma=0.25, n=50, seed=2)
    record = json.loads(json.dumps(last.record()))
    assert record["models"][1]["radii"] == alone.radius.tolist()
    assert (record["sigma"], record["looks"], record["seed"], record["images"]) == (0.25, 50, 2, list(data.ids))
    rows = last.rows()
    assert len(rows) == 4
    assert {tuple(row) for row in rows} == {("model", "image", "class", "answer", "radius", "share, at least")}
    seen = int(last.certificates["mnist/softmax"].classes[0])
    assert rows[0]["answer"] == ("abstains" if seen == ABSTAIN else last.classes[seen])


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        ({"n": 100.0}, "n must be a whole number, at least 1, not 100.0"),
        ({"n0": 0}, "n0 must be a whole number, at least 1, not 0"),
        ({"sigma": 0}, "sigma must be a finite number above 0, not 0"),
        ({"sigma": "0.25"}, "sigma must be a finite number above 0, not '0.25'"),
        ({"sigma": float("inf")}, "sigma must be a finite number above 0"),
        ({"alpha": 0.5}, "alpha must be a finite number above 0 and below 0.5"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(options, telling):
    with refused(ParamError, telling):
        certify(halfspace, images(0.7), **{"sigma": 0.25, "n": 100} | options)


def test_what_is_no_image_or_no_classifier_is_not_certified():
    with refused(ImageError, "must be floating point in [0,1], not torch.uint8"):
        certify(halfspace, (255 * images(0.7)).to(torch.uint8), sigma=0.25)
    for ask in (certify, predict):
        with refused(ModelError, "answers NaN"):
            ask(lambda x: halfspace(x) * torch.nan, images(0.7), sigma=0.25, n=100)
        with refused(ModelError, "one class only"):
            ask(lambda x: halfspace(x)[:, :1], images(0.7), sigma=0.25, n=100)
