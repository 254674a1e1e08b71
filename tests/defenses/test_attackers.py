"""Defenses under attackers who know them or not."""

import pytest
import torch

import lab
from lab.defenses.catalog import defend
from lab.defenses.detect import Squeezing
from lab.experiments.defenses.attackers import Attackers, Softmaxed, Trial, detected, distilled, transformed, worst
from lab.experiments.defenses.leaderboard import COLUMNS, accuracies, transferred
from lab.predict import classes_of


@pytest.fixture(scope="module")
def digits():
    return lab.load_data("mnist").rows(slice(0, 40))


def pgd(eps, steps=20):
    return Attackers("pgd", {"eps": eps, "steps": steps, "alpha": 2.5 * eps / steps})


def test_one_bit_of_depth_falls_to_whoever_knows_it(digits):
    model = lab.load_model("mnist/cnn")
    *_, found = transformed("bit_depth", model, digits.x, digits.y, pgd(0.5), bits=1)
    kept = {t.attacker: t.accuracy(digits.y) for t in found}
    assert list(kept) == ["none", "oblivious", "naive", "adaptive", "any"]
    assert kept["none"] >= 0.95
    assert kept["naive"] >= 0.9
    assert kept["adaptive"] <= 0.2
    assert kept["any"] <= min(kept.values())
    behind = defend("bit_depth", model, bits=1)
    for trial in found:
        assert torch.equal(trial.seen, classes_of(behind, trial.x))
        assert torch.equal(trial.plain, classes_of(model, trial.x))
        assert float((trial.x - digits.x).abs().max()) <= 0.5 + 1e-6


def test_attackers_know_what_there_is_to_know(digits):
    model, few = lab.load_model("mnist/mlp"), digits.rows(slice(0, 5))
    plans = {}
    for key in ("median", "resize_pad", "jpeg"):
        *_, found = transformed(key, model, few.x, few.y, pgd(0.1, 2))
        plans[key] = {t.attacker: t.how for t in found}
    assert list(plans["median"]) == ["none", "oblivious", "adaptive", "any"]
    assert "EOT" in plans["resize_pad"]["adaptive"]
    assert "BPDA" in plans["jpeg"]["adaptive"]


def test_distillation_only_stops_those_who_look_at_probabilities(digits):
    teacher, student = lab.load_model("mnist/cnn"), lab.load_model("mnist/cnn_distilled")
    heat = student.card.details["rule"]["temperature"]
    *_, found = distilled(teacher, student, digits.x, digits.y, pgd(0.2), temperature=heat)
    kept = {t.attacker: t.accuracy(digits.y) for t in found}
    assert kept["naive"] >= 0.8
    assert kept["adaptive"] <= 0.1


def test_softmaxed_probabilities_lose_the_gradient_where_the_model_is_sure():
    logits = torch.tensor([[200.0, 0.0, -5.0]], requires_grad=True)
    out = Softmaxed(torch.nn.Identity())(logits)
    assert out.argmax() == 0
    (slope,) = torch.autograd.grad(out[0, 0], logits)
    assert not slope.any()


def test_a_detector_is_calibrated_on_one_half_and_measured_on_the_other(digits):
    model, clean = lab.load_model("mnist/mlp"), lab.load_data("mnist").x[1000:1400]
    *_, found = detected(Squeezing(), model, clean, digits.x, digits.y, pgd(0.3), rate=0.1)
    assert (len(found.calibration), len(found.held)) == (200, 200)
    assert float((found.calibration > found.limit).double().mean()) <= 0.1
    assert found.false == float((found.held > found.limit).double().mean())
    kept = {t.attacker: t.accuracy(digits.y) for t in found.trials}
    assert list(kept) == ["none", "oblivious", "adaptive", "any"]
    assert kept["adaptive"] < kept["oblivious"]
    oblivious = found.trial("oblivious")
    fooled = oblivious.seen != digits.y
    assert found.detected("oblivious") == pytest.approx(float(oblivious.flagged[fooled].double().mean()))
    assert found.curve("oblivious").area > 0.8


def test_the_worst_takes_for_each_image_the_attacker_who_harms():
    y, x = torch.tensor([0, 1, 2]), torch.zeros(3, 1, 1, 1)
    never = torch.zeros(3).bool()
    first = Trial("none", "", x, y, torch.tensor([0, 1, 9]), never)
    second = Trial("oblivious", "", x + 1, y, torch.tensor([5, 1, 2]), torch.tensor([True, False, False]))
    third = Trial("adaptive", "", x + 2, y, torch.tensor([5, 7, 2]), never)
    found = worst((first, second, third), y)
    assert found.attacker == "any"
    assert found.accuracy(y) == 0
    assert found.x.flatten().tolist() == [2, 2, 0]
    assert second.accuracy(y) == 1  # rejected, or right


def test_a_clean_image_that_is_rejected_is_a_cost_and_an_attacked_one_a_gain():
    y, x = torch.tensor([0, 1]), torch.zeros(2, 1, 1, 1)
    rejected = torch.tensor([True, False])
    assert Trial("none", "", x, y, y, rejected).accuracy(y) == 0.5
    assert Trial("oblivious", "", x, y, y, rejected).accuracy(y) == 1


def test_a_model_stands_worse_under_stronger_attacks(digits):
    digits, model, source = digits.rows(slice(0, 12)), lab.load_model("mnist/mlp"), lab.load_model("mnist/softmax")
    made = transferred(source, digits.x, digits.y, 0.1)
    assert float((made - digits.x).abs().max()) <= 0.1 + 1e-6
    found = accuracies(model, digits.x, digits.y, 0.1, made=made, autoattack=True)
    assert tuple(found) == COLUMNS
    assert found["clean"] >= found["fgsm"] >= found["pgd"] >= found["autoattack"]
    assert found["transfer"] >= found["pgd"]
    none = accuracies(model, digits.x, digits.y, 0.0)
    assert none["clean"] == none["fgsm"] == none["pgd"]
    assert "transfer" not in none
    stopped = accuracies(model, digits.x, digits.y, 0.1, cancel=lambda: True)
    assert list(stopped) == ["clean"]
