"""Trainings that a person asks for: what single steps are worth, what a card says, how far a stopped one came."""

import json

import pytest
import torch

from lab.data.training import BUNDLED, training_subset
from lab.models.catalog import card_of
from lab.progress import Progress
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
    about = {"task": "mnist", "source": BUNDLED, "net": "mlp", "preset": way, "params": params, "eps": 0.25}
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
    *_, found = TrainingRun(plan()).run()
    assert found.finished
    assert found.overfitted
    assert found.epochs[-1].validation["clean"] > 0.85
    assert found.epochs[-1].validation["robust"] < 0.05


def test_a_run_tells_how_far_it_is_and_stops_when_asked():
    heard, run = [], TrainingRun(plan("standard", images=320, epochs=2))
    progress = Progress(lambda share, what: heard.append((share, what)), lambda: len(heard) > 14)
    parts = list(run.run(progress))
    assert [len(p.epochs) for p in parts] == [0, 1]
    (share, what), *batches = heard
    assert (share, what) == (0.0, ("loading the images",))
    assert [share for share, _ in batches] == pytest.approx([k / 20 for k in range(14)])
    assert batches[0][1] == ("epoch 1 of 2",)
    assert batches[-1][1][0] == "epoch 2 of 2"
    assert batches[-1][1][1].endswith(" s each")
    assert not parts[-1].finished
    *_, resumed = run.run()
    assert resumed.finished
    whole = TrainingRun(run.plan)
    list(whole.run())
    assert all(torch.equal(a, b) for a, b in zip(run.net.parameters(), whole.net.parameters(), strict=True))
    *_, again = run.run()
    assert again.epochs == tuple(run.epochs)
    record = json.loads(json.dumps(again.record()))
    assert record["plan"]["preset"] == "standard"
    assert record["finished"]
    assert [e["validation"] for e in record["epochs"]] == [dict(e.validation) for e in again.epochs]
    assert [row["number"] for row in again.rows()] == [1, 2]
    assert {"clean", "fgsm", "robust", "loss"} <= set(again.rows()[0])


def test_the_checkpoint_goes_with_the_run():
    run = TrainingRun(plan("standard", images=64, epochs=1))
    list(run.run())
    folder = run.folder.path
    assert list(folder.iterdir())
    del run
    assert not folder.exists()


def test_the_card_says_what_was_measured(device):
    *_, found = TrainingRun(plan("standard", images=320, epochs=1)).run()
    told = json.loads(json.dumps(card(found, found.net, "mine", "A net.")))
    about = card_of(told)
    held = training_subset("mnist").held
    assert about.accuracy == clean_accuracy(found.net, held.x.to(device), held.y.to(device))
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
        list(TrainingRun(plan(lr=20.0)).run())
