"""Whatever a run was cut after, what its page says of it holds, and the finished run does not contradict it."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import lab
from lab.defenses.detect import capsules_of
from lab.experiments.capsules.rivals import ASKED, Rivals, compare, title_of, worst_of
from lab.experiments.clever.estimate import Estimate
from lab.experiments.clever.score import Sampling, score
from lab.experiments.defenses.leaderboard import Entry, Leaderboard
from lab.experiments.robustness.curves import Robustness, evaluate
from lab.experiments.transfer.matrix import Matrix, stream
from lab.progress import Progress
from lab.ui.pages.capsules.detector import caught
from lab.ui.pages.capsules.robust import conclusion
from lab.ui.pages.clever import page as clever
from lab.ui.pages.defenses import leaderboard
from lab.ui.pages.robustness import page as robustness
from lab.ui.pages.robustness.setup import Setup, worst
from lab.ui.pages.transfer import page as transfer
from lab.ui.pages.transfer import sweeps

DATA = lab.load_data("mnist").rows(slice(0, 24))
MODELS = ("mnist/mlp", "mnist/softmax", "mnist/cnn_small")


def models():
    return {key: lab.load_model(key) for key in MODELS}


def shares(text):
    return [int(told) for told in re.findall(r"\*\*(\d+)%\*\*", text)]


def test_robustness_compares_what_all_models_have_undergone():
    setup = Setup("mnist", MODELS, ("fgsm", "pgd"), "linf", (0.0, 0.1, 0.2), 24, 5, 0)
    runs = [
        Robustness(outcomes, tuple(DATA.ids), "mnist", 0, asked=6)
        for outcomes in evaluate(models(), setup.attacks, DATA.x, DATA.y, setup.eps, steps=5)
    ]
    whole, told = runs[-1], [robustness.sentence(setup, run) for run in runs]
    assert whole.complete
    assert "under the worst of these attacks" in told[-1]
    seen = set()
    for run, text in zip(runs, told, strict=True):
        if run.complete:
            continue
        assert "the worst of these" not in text
        both = run.shared_by(MODELS)
        if not both:
            assert text.startswith("So far")
            last = ([o for o in run.outcomes if o.eps and o.eps[-1]] or run.outcomes)[-1]
            (same,) = [o for o in whole.outcomes if (o.model, o.attack) == (last.model, last.attack)]
            assert shares(text) == [round(100 * same.at(last.eps[-1]).accuracy)]
        else:
            assert "under FGSM, " in text, "the only attack that all have undergone"
            part = replace(whole, outcomes=tuple(o for o in whole.outcomes if o.attack == "fgsm"))
            kept = [worst(part, key, 0.2) for key in MODELS]
            assert shares(text) == [round(100 * max(kept)), round(100 * min(kept))]
        seen.add(bool(both))
    assert seen == {True, False}


def test_a_norm_in_which_the_cards_say_nothing_is_told():
    setup = Setup("mnist", MODELS[:1], ("pgd",), "l2", (0.0, 1.0), 24, 5, 0)
    *_, outcomes = evaluate(
        {MODELS[0]: lab.load_model(MODELS[0])}, ["pgd"], DATA.x, DATA.y, [0, 1.0], norm="l2", steps=5
    )
    text = robustness.sentence(setup, Robustness(outcomes, tuple(DATA.ids), "mnist", 0, asked=1))
    assert "under PGD" in text
    assert "masked" in text
    assert "only for L∞" in text


def test_transfer_names_the_sources_that_were_attacked():
    shown, asked = SimpleNamespace(names={key: key for key in MODELS}), models()
    runs = [
        Matrix(each, "fgsm", (("eps", 0.2),), 0, "mnist", tuple(DATA.ids))
        for each in stream(asked, asked, DATA.x, DATA.y, "fgsm", eps=0.2)
        if each.sources
    ]
    whole = {(row["source"], row["target"]): row["success"] for row in runs[-1].rows()}
    for run in runs:
        text = transfer.sentence(shown, run)
        made = [(pair, success) for pair, success in whole.items() if pair[0] in run.transfer.sources]
        between = [success for (source, target), success in made if source != target]
        assert shares(text)[0] == round(100 * sum(between) / len(between))
        assert ("So far" in text) is not run.complete
        named = text.partition(", the images")[0]
        assert run.complete or all(key in named for key in run.transfer.sources)


def test_capsules_are_compared_under_attacks_that_both_have_undergone():
    keys = ("mnist/capsnet", "mnist/cnn_small")
    first, second = (lab.load_model(key) for key in keys)
    data, eps, names = DATA.rows(slice(0, 10)), [0.0, 0.1, 0.2], {key: f"The {key}" for key in keys}
    runs = [
        Robustness(outcomes, tuple(data.ids), "mnist", 0, asked=ASKED)
        for outcomes in compare(Rivals(first, second, capsules_of(first), keys), data.x, data.y, eps, steps=3)
    ]
    assert [run.complete for run in runs] == [False] * (len(runs) - 1) + [True]
    whole = runs[-1]
    for run in runs:
        outcomes = run.outcomes if run.complete else run.shared_by(keys)
        text = conclusion(outcomes, names, run.complete)
        if text is None:
            assert not {o.attack for o in outcomes} & {"fgsm"}
            continue
        assert ("all attacks" in text) is run.complete
        kinds = {o.attack for o in outcomes}
        for kind in kinds if not run.complete else ():
            assert title_of(kind) in text
            assert {o.model for o in outcomes if o.attack == kind} == set(keys)
        same = [o for o in whole.outcomes if o.attack in kinds]
        size = float(re.search(r"Under FGSM at ([\d.]+)/255", text)[1]) / 255
        size = min(eps, key=lambda e: abs(e - size))
        assert shares(text)[-1] == round(100 * worst_of(same, keys[0]).at(size).accuracy)


def test_clever_tells_no_estimate_from_few_batches_and_linear_only_where_it_was_shown():
    model, x = lab.load_model("mnist/cnn_small"), DATA.x[:1]
    linear = lab.load_model("mnist/softmax")

    def after(model, batches):
        told = []
        stop = Progress(lambda share, what: told.append(what[-1]), lambda: len([w for w in told if w]) > batches)
        return score(model, x, Sampling("l2", 20, 4, 5.0, 0), None, stop)

    asked = SimpleNamespace(
        norm="l2",
        classes=tuple(map(str, range(10))),
        sampling=Sampling("l2", 20, 4, 5.0, 0),
        subject=SimpleNamespace(card=model.card),
    )
    for batches in (1, 5, 9, 12, 20):
        found = after(model, batches)
        done = found.maxima.shape[2]
        estimate = Estimate(found, "mnist/cnn_small", "mnist", ("0",), asked.classes)
        text = clever.sentence(asked, estimate)
        assert clever._exact(estimate) is None, "it is not linear"
        if done < 10:
            assert text == f"No estimate from {done} of 20 batches: it takes at least 10."
        else:
            assert text.startswith("CLEVER estimates") is found.complete
            assert found.complete or text.startswith(f"From the first {done} of 20 batches, CLEVER")
    few, many = (Estimate(after(linear, n), "mnist/softmax", "mnist", ("0",), asked.classes) for n in (3, 20))
    assert clever._exact(few) is None, "three batches show nothing"
    assert clever._exact(many) == pytest.approx(float(many.clever.scores[0]), rel=1e-3)
    assert torch.isfinite(many.clever.scores).all()


def test_all_models_are_ranked_by_what_they_all_have_undergone():
    full = {"clean": 1.0, "fgsm": 0.9, "pgd": 0.8, "transfer": 0.7}
    entries = (
        Entry("a", "A", full, 0.1),
        Entry("b", "B", full | {"pgd": 0.6}, None),  # no AutoAttack: its figure would look better than A's
        Entry("c", "C", {name: v for name, v in full.items() if name != "transfer"}, 0.0),  # the source of the transfer
    )
    board = Leaderboard(entries, "mnist", "mnist", 0.3, 20, "c", 0, asked=4)
    text = leaderboard.sentence(board)
    assert "AutoAttack" not in text
    assert text.startswith("Of the 3 models measured so far, under the worst of FGSM, PGD-40 and images made on")
    assert "**C** (80%) keeps the most accuracy; none of the others keeps more than 70%" in text
    assert "measured so far" not in leaderboard.sentence(replace(board, asked=3))
    with_a_card = replace(board, entries=(entries[0], replace(entries[1], card=0.5)), asked=2)
    assert (
        "AutoAttack **B** (50%) keeps the most accuracy; none of the others keeps more than 10%"
        in leaderboard.sentence(with_a_card)
    )
    begun = replace(board, entries=(entries[0], Entry("b", "B", {"clean": 1.0, "fgsm": 1.0}, None)))
    assert leaderboard.sentence(begun).startswith("So far only **A** was measured")
    assert leaderboard.sentence(replace(board, entries=begun.entries[1:])) == "No model was attacked to the end."


def test_a_sweep_that_was_stopped_compares_only_what_both_attacks_have_undergone():
    point = SimpleNamespace(targets=0.5)
    assert sweeps._momentum({"I-FGSM": (point,), "MI-FGSM": ()})["gains"] == ""
    assert "+0 to +0 points" in sweeps._momentum({"I-FGSM": (point,), "MI-FGSM": (point,)})["gains"]


def test_a_detector_that_nothing_was_tried_on_is_not_said_to_be_fooled_by_nothing():
    assert "No image fools" not in caught(SimpleNamespace(tried=(), complete=False))
    assert "No image fools" in caught(SimpleNamespace(tried=(), complete=True))
