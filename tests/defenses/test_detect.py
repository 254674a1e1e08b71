"""Detectors: scores, thresholds, ROC curves, and the model that an attacker sees who knows them."""

import pytest
import torch

import lab
from lab.defenses.catalog import DETECTORS, detector
from lab.defenses.detect import Guarded, Reconstruction, Squeezing, capsules_of, roc, scores, threshold
from lab.defenses.preprocess import BitDepth, Median
from lab.types import ModelError, ParamError


@pytest.fixture(scope="module")
def digits():
    return lab.load_data("mnist").rows(slice(0, 40))


def test_squeezing_is_the_largest_move_of_the_probabilities(digits):
    model, x = lab.load_model("mnist/mlp"), digits.x
    plain = model(x).softmax(1)
    moved = [(model(g(x)).softmax(1) - plain).abs().sum(1) for g in (BitDepth(1), Median(2))]
    assert torch.allclose(Squeezing(bits=1, median=2)(model, x), torch.maximum(*moved))


def test_reconstruction_is_the_distance_to_the_drawing_of_the_winning_capsule(digits, device):
    model, x = lab.load_model("mnist/capsnet"), digits.x[:4].to(device)
    seen = model.net.explore(x)
    drawn = model.net.reconstruct(seen.capsules, model(x).argmax(1))
    assert torch.allclose(Reconstruction()(model, x), (drawn - x).flatten(1).norm(dim=1))
    assert capsules_of(model.net) is model.net


def test_reconstruction_needs_a_capsule_network(digits):
    with pytest.raises(ModelError, match="capsule network"):
        Reconstruction()(lab.load_model("mnist/cnn"), digits.x)


def test_scores_are_the_same_in_parts(digits):
    model = lab.load_model("mnist/mlp")
    assert torch.allclose(scores(Squeezing(), model, digits.x, rows=7), Squeezing()(model, digits.x), atol=1e-6)


def test_the_threshold_rejects_no_more_than_it_may():
    clean = torch.arange(100.0)
    for rate in (0.01, 0.05, 0.2):
        assert float((clean > threshold(clean, rate)).double().mean()) <= rate
    assert float((clean > threshold(clean, 0.05)).double().mean()) == pytest.approx(0.05, abs=0.011)
    with pytest.raises(ParamError, match="false-positive rate"):
        threshold(clean, 1.5)


def test_the_roc_area_is_the_chance_that_an_attacked_image_is_more_suspicious():
    rng = torch.Generator().manual_seed(0)
    clean, attacked = torch.randn(80, generator=rng), torch.randn(60, generator=rng).round(decimals=1) + 0.7
    clean = clean.round(decimals=1)
    higher = (attacked[:, None] > clean[None]).double() + 0.5 * (attacked[:, None] == clean[None]).double()
    found = roc(clean, attacked)
    assert found.area == pytest.approx(float(higher.mean()))
    assert (found.false[0], found.true[0], found.false[-1], found.true[-1]) == (0, 0, 1, 1)
    assert roc(clean, clean).area == pytest.approx(0.5)
    with pytest.raises(ParamError, match="fooled none"):
        roc(clean, attacked[:0])


@pytest.mark.parametrize(("key", "name"), [("mnist/mlp", "squeezing"), ("mnist/capsnet", "reconstruction")])
def test_a_guarded_model_says_detected_exactly_where_the_score_is_above_the_threshold(key, name, digits):
    model, guard = lab.load_model(key), detector(name)
    found = scores(guard, model, digits.x)
    limit = float(found.median())
    with torch.no_grad():
        logits = guard.known(model, limit)(digits.x)
        plain = model(digits.x)
    assert logits.shape == (40, 11)
    assert torch.equal(logits[:, :10], plain)
    clear = (found - limit).abs() > 1e-4 * limit
    assert torch.equal((logits.argmax(1) == 10)[clear], (found > limit)[clear])


def test_an_attack_that_reaches_a_class_of_the_guarded_model_passes_the_detector(digits):
    model, guard = lab.load_model("mnist/mlp"), Squeezing()
    x, y = digits.x[:8], digits.y[:8]
    limit = threshold(scores(guard, model, lab.load_data("mnist").x[1000:1200]), 0.05)
    result = lab.attack("pgd", guard.known(model, limit), x, y, target=(y + 1) % 10, eps=0.5, alpha=0.05, steps=60)
    assert result.success.any()
    assert torch.equal(model(result.x).argmax(1)[result.success], ((y + 1) % 10)[result.success])
    assert (scores(guard, model, result.x)[result.success] <= limit).all()


def test_without_members_the_attack_ascends_the_guarded_models_own_loss(digits):
    model = lab.load_model("mnist/capsnet")
    assert not Guarded(model, Reconstruction(), 5.0).answer(digits.x[:2]).members
    assert len(Squeezing().known(lab.load_model("mnist/mlp"), 0.1).answer(digits.x[:2]).members) == 3


def test_the_catalogue_lists_detectors_and_refuses_what_is_not_there():
    assert set(DETECTORS) <= set(lab.catalog()["defenses"])
    for spec in DETECTORS.values():
        assert spec.papers
        assert spec.summary.endswith(".")
    with pytest.raises(ParamError, match="no detector 'magic'"):
        detector("magic")
    with pytest.raises(ParamError, match="bits"):
        detector("squeezing", bits=99)
