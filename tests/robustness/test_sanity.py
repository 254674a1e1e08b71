"""Sanity checks: green for honest models, red for those that hide their gradients, each for its reason."""

import pytest
import torch
from torch import nn

import lab
from lab.defenses.preprocess import Preprocessed, staircase
from lab.experiments.defenses.attackers import Softmaxed
from lab.experiments.robustness import sanity
from lab.experiments.robustness.sanity import check
from lab.progress import Cancelled, Progress
from lab.types import LabWarning, ParamError

LOGITS, GRADIENTS, UNBOUNDED, STEPS, ITERATED, NOISE, BLACK_BOX = range(7)


def few(count=24):
    data = lab.load_data("mnist").rows(slice(0, count))
    return data.x, data.y


def ask(model, count=24, **settings):
    return list(check(model, *few(count), 0.2, **settings))


@pytest.mark.parametrize("key", ["mnist/cnn", "mnist/mlp"])
def test_an_honest_model_passes_all(key):
    found = ask(lab.load_model(key), source=lab.load_model("mnist/softmax"))
    assert [c.passed for c in found] == [True] * 7
    assert all(c.evidence and c.said.endswith(".") for c in found)
    assert len(found[BLACK_BOX].evidence) == 3


def test_restarts_start_elsewhere(monkeypatch):
    starts = []

    def watched(key, model, x, y, **how):
        starts.append((key, how.get("steps"), how["seed"]))
        return lab.attack(key, model, x, y, **how)

    monkeypatch.setattr(sanity, "attack", watched)
    ask(lab.load_model("mnist/softmax"), 4, seed=5)
    assert [seed for key, steps, seed in starts if (key, steps) == ("pgd", 10)] == [5, 5, 6, 7]


def test_what_a_textbook_sees_of_distillation_is_found_out():
    found = ask(Softmaxed(lab.load_model("mnist/cnn_distilled")))
    assert found[LOGITS].passed
    assert not found[GRADIENTS].passed
    assert "are zero" in found[GRADIENTS].said
    assert not found[BLACK_BOX].passed


def test_a_staircase_is_found_out():
    found = ask(Preprocessed(lab.load_model("mnist/mlp"), staircase))
    assert [c.passed for c in found][GRADIENTS : UNBOUNDED + 1] == [False, False]
    assert not found[NOISE].passed
    assert not found[BLACK_BOX].passed


def test_a_random_model_is_found_out():
    model = lab.load_model("mnist/mlp")
    found = ask(lambda x: model((x + 0.3 * torch.randn_like(x)).clamp(0, 1)))
    assert "different at the second look" in found[GRADIENTS].said


def test_probabilities_are_told():
    model = lab.load_model("mnist/softmax")
    with pytest.warns(LabWarning, match="probabilities"):
        found = ask(lambda x: model(x).softmax(1), count=8)
    assert not found[LOGITS].passed


def test_a_model_that_is_always_wrong_leaves_nothing_to_attack():
    found = ask(lambda x: torch.tensor([[-1.0] * 10 + [1.0]]).expand(len(x), 11))
    assert [c.passed for c in found] == [True, None]


def test_it_stops_when_told():
    answered = check(lab.load_model("mnist/mlp"), *few(), 0.2, progress=Progress(stop=lambda: True))
    assert next(answered).question == "Are these logits?"
    with pytest.raises(Cancelled):
        next(answered)


def test_outputs_that_hardly_differ_are_told():
    model = lab.load_model("mnist/mlp")
    found = ask(lambda x: 1e-5 * model(x), count=8)
    assert not found[LOGITS].passed
    assert "hardly differ" in found[LOGITS].said


def test_a_model_that_changes_while_it_is_asked_is_told():
    class Learns(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = lab.load_model("mnist/mlp")
            self.register_buffer("asked", torch.zeros(()))

        def forward(self, x):
            self.asked += 1
            return self.net(x)

    found = ask(Learns().eval(), count=8)
    assert not found[GRADIENTS].passed
    assert "The weights changed" in found[GRADIENTS].said


@pytest.mark.parametrize(
    ("norm", "eps", "blind"), [("l2", 1.5, "SPSA, scores only"), ("l1", 10.0, "MI-FGSM, made on another model")]
)
def test_checks_are_asked_in_the_norm_that_is_measured_in(norm, eps, blind):
    model, other = lab.load_model("mnist/mlp"), lab.load_model("mnist/softmax")
    data = lab.load_data("mnist").rows(slice(0, 16))
    asked = list(check(model, data.x, data.y, eps, norm=norm, source=other))
    assert [each.passed for each in asked] == [True] * 7
    unbounded = asked[2].evidence
    values = data.x[0].numel()
    assert unbounded[-1]["epsilon"] == f"{values**0.5 if norm == 'l2' else values:.3g}"
    assert blind in [row["attack"] for row in asked[-1].evidence]


def test_where_there_is_nothing_to_compare_with_it_says_so():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 6))
    *_, last = check(model, data.x, data.y, 5.0, norm="l1")
    assert last.passed is None
    with pytest.raises(ParamError, match="norm must be"):
        list(check(model, data.x, data.y, 0.1, norm="l0"))
