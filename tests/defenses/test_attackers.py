"""Defenses under attackers who know them or not."""

import json

import pytest
import torch

import lab
from lab.defenses.catalog import defend
from lab.defenses.detect import Squeezing, threshold
from lab.experiments.defenses.attackers import (
    Attackers,
    Defended,
    Softmaxed,
    Trial,
    detected,
    distilled,
    transformed,
    worst,
)
from lab.experiments.defenses.leaderboard import COLUMNS, Leaderboard, accuracies, entry, transferred
from lab.predict import classes_of
from lab.progress import Cancelled, Progress


@pytest.fixture(scope="module")
def digits():
    return lab.load_data("mnist").rows(slice(0, 40))


def pgd(eps, steps=20):
    return Attackers("pgd", {"eps": eps, "steps": steps})


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
        plans[key] = {t.attacker: t.description for t in found}
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
    assert found.limit == threshold(found.calibration, 0.1)
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
    assert tuple(found) == tuple(COLUMNS)
    assert found["clean"] >= found["fgsm"] >= found["pgd"] >= found["autoattack"]
    assert found["transfer"] >= found["pgd"]
    none = accuracies(model, digits.x, digits.y, 0.0)
    assert none["clean"] == none["fgsm"] == none["pgd"]
    assert "transfer" not in none
    stopped = accuracies(model, digits.x, digits.y, 0.1, progress=Progress(stop=lambda: True))
    assert list(stopped) == ["clean"]


def test_an_image_that_is_wrong_when_clean_is_wrong_under_every_attack(digits):
    few = digits.rows(slice(0, 8))
    y = torch.where(torch.arange(8) < 2, (few.y + 1) % 10, few.y)
    values = accuracies(lab.load_model("mnist/mlp"), few.x, y, 1e-6)
    assert values == {"clean": 0.75, "fgsm": 0.75, "pgd": 0.75}


def stopped_at(word):
    """A progress that stops the work once it hears of something whose name has this word in it, and what it heard."""
    heard = []
    return Progress(lambda share, what: heard.append(what[0]), lambda: any(word in name for name in heard)), heard


def until_stopped(runs):
    """The last thing that a generator yields before it is stopped."""
    told = []
    with pytest.raises(Cancelled):
        told.extend(runs)
    return told[-1]


def test_a_stopped_attacker_leaves_no_trial_and_what_is_at_work_is_told(digits):
    model, few = lab.load_model("mnist/mlp"), digits.rows(slice(0, 5))
    progress, heard = stopped_at("follows the gradient")
    trials = until_stopped(transformed("median", model, few.x, few.y, pgd(0.1, 2), progress=progress))
    assert [t.attacker for t in trials] == ["none", "oblivious"]
    assert list(dict.fromkeys(heard)) == [
        "an attacker who attacks the model without the defense",
        "an attacker who follows the gradient through the defense",
    ]
    progress, _ = stopped_at("who knows")
    report = until_stopped(detected(Squeezing(), model, digits.x, few.x, few.y, pgd(0.1, 2), progress=progress))
    assert [t.attacker for t in report.trials] == ["none", "oblivious"]


def test_a_defense_under_attack_makes_a_record_and_rows(digits):
    model, few = lab.load_model("mnist/mlp"), digits.rows(slice(0, 4))
    attackers = pgd(0.1, 2)
    *_, report = detected(Squeezing(), model, digits.x, few.x, few.y, attackers)
    params = (("bits", 1), ("median", 2))
    whole = Defended(report.trials, few.y, tuple(few.ids), "mnist", "squeezing", params, "mnist/mlp", attackers, report)
    record = json.loads(json.dumps(whole.record()))
    assert (record["data set"], record["defense"], record["images"]) == ("MNIST", "squeezing", 4)
    assert record["attack params"] == {"eps": 0.1, "steps": 2}
    assert record["complete"]
    assert [a["attacker"] for a in record["attackers"]] == ["none", "oblivious", "adaptive", "any"]
    assert record["attackers"][-1]["accuracy"] == report.trial("any").accuracy(few.y)
    assert record["detector"]["threshold"] == report.limit
    rows = whole.rows()
    assert len(rows) == 4 * 4
    assert {tuple(row) for row in rows} == {
        ("image", "class", "attacker", "undefended", "defended", "rejected", "score")
    }
    assert rows[4]["score"] == float(report.trial("oblivious").scores[0])
    assert not Defended(report.trials[:2], few.y, (), "mnist", "squeezing", (), "mnist/mlp", attackers).complete


def test_the_leaderboard_ranks_by_autoattack_and_makes_a_record_and_rows():
    weak, strong = (lab.load_model(f"mnist/{name}").card for name in ("cnn", "cnn_pgd_at"))
    entries = (
        entry(weak, 0.3, {"clean": 1.0, "fgsm": 0.2, "pgd": 0.9}),
        entry(strong, 0.3, {"clean": 1.0, "fgsm": 0.9, "pgd": 0.8, "transfer": 0.9}),
    )
    board = Leaderboard(entries, "mnist", "mnist", 0.3, 20, "mnist/mlp", 0)
    assert [e.model for e in board.ranked] == ["mnist/cnn_pgd_at", "mnist/cnn"]
    first, second = board.rows()
    assert list(first) == list(second) == ["Model", *COLUMNS.values()]
    assert first["AutoAttack"] == strong.measured("autoattack", 0.3).accuracy
    assert second["Transfer"] is None
    record = json.loads(json.dumps(board.record()))
    assert record["rows"] == board.rows()
    assert {"task", "eps", "images", "source", "seed"} <= set(record)
