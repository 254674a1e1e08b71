"""Trainings that a person asks for: what single steps are worth, what a card says, how far a stopped one came."""

import json

import pytest
import torch

from lab.data.training import BUNDLED, training_subset
from lab.models.catalog import card_of
from lab.training import session
from lab.training.fit import Epoch
from lab.training.measure import clean_accuracy
from lab.training.presets import PRESETS
from lab.training.recipe import RULES
from lab.training.session import Plan, Trained, TrainingRun, card
from lab.types import ParamError


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(session, "MEASURED", 100)


def plan(way="fgsm", **changes):
    params = tuple((p.name, p.default) for p in PRESETS[way].params)
    about = {"task": "mnist", "source": BUNDLED, "net": "mlp", "way": way, "params": params, "eps": 0.25}
    return Plan(**about | {"epochs": 3, "images": 2000, "lr": 0.005, "seed": 0} | changes)


def epoch(number, fgsm, robust, note=""):
    return Epoch(number, 3, 1.0, 1.0, 0.1, 1.0, 0.0, {"clean": 1.0, "fgsm": fgsm, "robust": robust}, note)


@pytest.mark.parametrize("way", PRESETS)
def test_every_way_is_a_rule_at_the_chosen_size(way):
    rule = plan(way).rule
    assert isinstance(rule, RULES[PRESETS[way].rule])
    assert getattr(rule, "eps", 0.25) == 0.25
    assert "eps" not in {p.name for p in PRESETS[way].params}
    assert all(getattr(rule, name) == value for name, value in PRESETS[way].fixed.items())


def test_training_on_single_steps_alone_masks():
    found = TrainingRun(plan()).run(lambda *_: False)
    assert found.finished
    assert found.overfitted
    assert found.epochs[-1].validation["clean"] > 0.85
    assert found.epochs[-1].validation["robust"] < 0.05


def test_a_run_tells_how_far_it_is_and_stops_when_asked():
    told, run = [], TrainingRun(plan("standard", images=320, epochs=2))

    def watch(so_far, share, message):
        told.append((len(so_far.epochs), share, message))
        return len(told) > 13

    found = run.run(watch)
    assert [n for n, _, _ in told] == [0] * 10 + [1] * 4
    assert [share for _, share, _ in told] == [k / 20 for k in range(14)]
    assert told[0][2] == "epoch 1 of 2"
    assert told[-1][2].startswith("epoch 2 of 2, ")
    assert not found.finished
    assert len(found.epochs) == 1
    assert run.run(lambda *_: False).finished
    whole = TrainingRun(run.plan)
    whole.run(lambda *_: False)
    assert all(torch.equal(a, b) for a, b in zip(run.net.parameters(), whole.net.parameters(), strict=True))
    assert run.run(lambda *_: False).epochs == tuple(run.epochs)


def test_the_checkpoint_goes_with_the_course():
    run = TrainingRun(plan("standard", images=64, epochs=1))
    run.run(lambda *_: False)
    folder = run.folder.path
    assert list(folder.iterdir())
    del run
    assert not folder.exists()


def test_the_card_says_what_was_measured():
    found = TrainingRun(plan("standard", images=320, epochs=1)).run(lambda *_: False)
    told = json.loads(json.dumps(card(found, found.net, "mine", "A net.")))
    about = card_of(told)
    held = training_subset("mnist").held
    assert about.accuracy == clean_accuracy(found.net, held.x, held.y)
    assert about.accuracy_note == "on 2,000 held-out images"
    assert (about.robust[0].attack, about.robust[0].eps, about.robust[0].n) == ("pgd", 0.25, 100)
    assert about.parameters == sum(p.numel() for p in found.net.parameters())
    assert told["seed"] == 0
    assert "first 320 of" in told["data"]


def test_what_is_kept_of_a_training_that_was_ended():
    good, bad = epoch(1, 0.6, 0.5), epoch(2, 0.9, 0.1, "catastrophic overfitting")
    ended = Trained(plan(), "", (good, bad), None)
    assert ended.finished
    assert ended.overfitted
    assert ended.kept is good
    assert Trained(plan(), "", (bad,), None).kept is bad
    assert not Trained(plan(), "", (), None).overfitted
    assert not Trained(plan(), "", (bad, good), None).overfitted


def test_unknown_settings_are_refused():
    with pytest.raises(ParamError, match="lr must lie between"):
        TrainingRun(plan(lr=20.0)).run(lambda *_: False)
