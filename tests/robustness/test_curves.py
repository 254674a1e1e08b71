"""Security curves: exact where the answer is known, and the same in pieces."""

import json
import math
from itertools import pairwise

import pytest
import torch

import lab
from lab.cli import main
from lab.experiments.robustness.curves import evaluate, planned, settings
from lab.progress import Progress
from lab.statistics import wilson
from lab.types import ParamError


class Threshold(torch.nn.Module):
    """Class 1 where the mean of the image exceeds one half."""

    def forward(self, x):
        mean = x.flatten(1).mean(1)
        return torch.stack([torch.full_like(mean, 0.5), mean], 1) * 10


X = torch.tensor([0.6, 0.7, 0.8, 0.45]).view(4, 1, 1, 1).expand(4, 1, 4, 4).contiguous()
Y = torch.tensor([1, 1, 1, 1])
"""Broken at 0.1, 0.2 and 0.3 in L-infinity; the last is wrong when clean."""


def last(*args, **kwargs):
    *_, found = evaluate(*args, **kwargs)
    return found


@pytest.mark.parametrize("attack", ["bim", "fmn"])
def test_the_curve_of_a_model_whose_distances_are_known(attack):
    (found,) = last({"mean": Threshold()}, [attack], X, Y, [0, 0.05, 0.12, 0.22, 0.4])
    assert [p.accuracy for p in found.curve] == [0.75, 0.75, 0.5, 0.25, 0.0]
    assert found.needed[3] == 0
    assert not found.right[3]
    assert found.complete
    for p in found.curve:
        assert (p.low, p.high) == wilson(round(p.accuracy * 4), 4)
        assert p.low <= p.accuracy <= p.high


def test_a_search_for_the_smallest_perturbation_tells_distances_and_the_others_the_size_that_sufficed():
    fixed, smallest = last({"mean": Threshold()}, ["bim", "fmn"], X, Y, [0.15, 0.25, 0.5])
    assert fixed.needed[:3].tolist() == pytest.approx([0.15, 0.25, 0.5])
    assert smallest.needed[:3].tolist() == pytest.approx([0.1, 0.2, 0.3], rel=0.05)
    assert (smallest.distance == smallest.needed).all()


def test_it_streams_and_what_is_told_first_stays():
    told = list(evaluate({"mean": Threshold()}, ["fgsm", "bim"], X, Y, [0, 0.15, 0.5]))
    assert [len(t) for t in told] == [1, 1, 1, 1, 2, 2, 2, 2]
    for before, after in pairwise(told):
        assert after[0].curve[: len(before[0].curve)] == before[0].curve


def test_it_tells_the_attack_and_the_model_at_work():
    heard = []
    progress = Progress(lambda share, what: heard.append((round(share, 3), what[:2])))
    last({"mean": Threshold()}, ["fgsm", "bim"], X, Y, [0, 0.5], progress=progress)
    assert [share for share, _ in heard] == sorted(share for share, _ in heard)
    assert list(dict.fromkeys(what for _, what in heard)) == [("fgsm", "mean"), ("bim", "mean")]
    assert (0.5, ("bim", "mean")) in heard


def test_the_numbers_are_the_same_shared_out_among_devices():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 11))
    settings = {"attacks": ["pgd", "fmn"], "x": data.x, "y": data.y, "eps": [0, 0.05, 0.1], "steps": 5, "seed": 3}
    whole = last({"mlp": model}, **settings)
    shared = last({"mlp": model}, **settings, devices=("cpu", "cpu", "cpu"))
    for a, b in zip(whole, shared, strict=True):
        assert a.curve == b.curve
        assert torch.allclose(a.distance, b.distance, rtol=1e-4)


def test_a_model_of_the_lab_gets_images_in_its_own_size():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 6))
    large = torch.nn.functional.interpolate(data.x, (56, 56), mode="nearest")
    (found,) = last({"mlp": model}, ["fgsm"], large, data.y, [0, 0.1])
    assert found.at(0).accuracy == float((model(data.x).argmax(1) == data.y).double().mean())


def test_stopped_it_tells_what_it_has():
    told = []
    for found in evaluate(
        {"mean": Threshold()}, ["bim"], X, Y, [0.05, 0.15, 0.5], progress=Progress(stop=lambda: len(told) >= 1)
    ):
        told.append(found)
    assert len(told[-1][0].curve) == 1
    assert not told[-1][0].complete


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"eps": [-0.1]}, "none below 0"),
        ({"eps": []}, "eps needs one size or more"),
        ({"eps": [math.nan]}, "eps needs one size or more"),
        ({"norm": "l0"}, "norm must be linf, l2 or l1"),
        ({"attacks": ["pixel"]}, "pixel has no epsilon"),
        ({"attacks": []}, "at least one attack is needed"),
        ({"models": {}}, "at least one model is needed"),
        ({"stepz": 3}, "there is no attack that has a parameter 'stepz'"),
        ({"params": {"norm": "l2"}}, "norm is the same for all attacks"),
        ({"restarts": 0}, "restarts must be a whole number, at least 1, not 0"),
        ({"attacks": ["universal"], "restarts": 2}, "universal cannot be restarted here"),
        ({"draws": 1.5}, "draws must be a whole number"),
    ],
)
def test_what_makes_no_curve_is_told_in_one_sentence(given, said):
    asked = {"models": {"mean": Threshold()}, "attacks": ["bim"], "x": X, "y": Y, "eps": [0.1]} | given
    with pytest.raises(ParamError, match=said):
        planned(asked["attacks"], "linf", given["params"]) if "params" in given else list(evaluate(**asked))


def test_an_attack_gets_the_parameters_that_it_has():
    assert settings("fgsm", "linf", {"steps": 5}) == {"norm": "linf"}
    assert settings("pgd", "l2", {"steps": 5, "momentum": 1}) == {"steps": 5, "norm": "l2"}
    with pytest.raises(ParamError, match="square does not bound l2"):
        settings("square", "l2", {})


def test_restarts_break_what_any_of_their_runs_breaks():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 100))
    asked = {"models": {"mlp": model}, "attacks": ["pgd"], "x": data.x, "y": data.y, "eps": [0.05], "steps": 2}
    runs = [last(**asked, seed=4 + k)[0].needed for k in range(3)]
    (best,) = last(**asked, seed=4, restarts=3)
    assert torch.equal(best.needed, torch.stack(runs).amin(0))
    assert not all(torch.equal(best.needed, each) for each in runs)


def test_the_command_line_tells_the_same_numbers(tmp_path, capsys):
    file = tmp_path / "curves.json"
    given = ["evaluate", "--models", "mnist/mlp,mnist/softmax", "--attacks", "fgsm,pgd", "--eps", "0,8/255,0.1"]
    assert (
        main(
            [
                *given,
                "--dataset",
                "mnist",
                "--limit",
                "12",
                "--param",
                "steps=5",
                "--restarts",
                "2",
                "--json",
                str(file),
            ]
        )
        == 0
    )
    told = json.loads(file.read_text(encoding="utf-8"))
    data = lab.load_data("mnist").rows(slice(0, 12))
    models = {key: lab.load_model(key) for key in ("mnist/mlp", "mnist/softmax")}
    found = last(models, ["fgsm", "pgd"], data.x, data.y, [0, 8 / 255, 0.1], steps=5, restarts=2)
    assert (told["restarts"], told["draws"]) == (2, 1)
    assert [(o["model"], o["attack"]) for o in told["outcomes"]] == [(o.model, o.attack) for o in found]
    for a, b in zip(told["outcomes"], found, strict=True):
        assert [p["accuracy"] for p in a["curve"]] == pytest.approx([p.accuracy for p in b.curve])
    assert told["images"] == list(data.ids)
    out = capsys.readouterr().out
    assert out.count("\n") == 12
    assert "mnist/mlp  fgsm  linf 0.1" in out


def test_the_command_line_refuses_a_negative_epsilon(capsys):
    given = ["evaluate", "--models", "mnist/mlp", "--attacks", "fgsm", "--eps=-0.1", "--dataset", "mnist"]
    assert main(given) == 2
    assert "none below 0" in capsys.readouterr().err
