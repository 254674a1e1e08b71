"""Models of any manner under every public function: they work as an ordinary one does, or are refused in one sentence.

The table of docs/manners.md is what these tests find; `LAB_WRITE_DOCS=1 pytest tests/test_manners.py` writes it anew.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lab
from lab.defenses.detect import Squeezing, scores
from lab.experiments.blackbox.oracle import Oracle, labels_of
from lab.experiments.blackbox.substitute import Substitute, copy_oracle

DOCS = Path(__file__).parents[1] / "docs" / "manners.md"


class Net(nn.Module):
    """An ordinary network, with what is folded and what behaves otherwise in training."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.conv, self.norm, self.drop = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5)
            self.pool, self.head = nn.AdaptiveAvgPool2d(4), nn.Linear(128, 4)

    def features(self, x):
        return self.pool(torch.relu(self.norm(self.conv(x)))).flatten(1)

    def forward(self, x):
        return 4 * self.head(self.drop(self.features(x)))


NET = Net().eval()
X = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(1))
Y = NET(X).argmax(1)


def saying(change, kind=Net):
    """The ordinary network, whose answer is changed."""

    class Said(kind):
        def forward(self, x):
            return change(super().forward(x), x)

    return Said().eval()


class InPlace(Net):
    def forward(self, x):
        return super().forward(x.sub_(0.5).mul_(2).div_(2).add_(0.5))


class Keeps(Net):
    def forward(self, x):
        self.kept = self.features(x)
        return 4 * self.head(self.drop(self.kept))


class Locked(Net):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Branches(Net):
    """Another batch norm for dark images; these are none."""

    def __init__(self):
        super().__init__()
        self.dark = nn.BatchNorm2d(8)
        nn.init.constant_(self.dark.bias, 5)

    def features(self, x):
        h = self.conv(x)
        dark = (x.flatten(1).mean(1) < 0.1).view(-1, 1, 1, 1)
        h = torch.where(dark, self.dark(h), self.norm(h)) if dark.any() else self.norm(h)
        return self.pool(torch.relu(h)).flatten(1)


class KnowsItself(Net):
    def __init__(self):
        super().__init__()
        self.act = lambda h: h if self.training else torch.relu(h)

    def features(self, x):
        return self.pool(self.act(self.norm(self.conv(x)))).flatten(1)


class NoSlope(torch.autograd.Function):
    """Hands the image on; its gradient is NaN for the first image of X."""

    @staticmethod
    def forward(ctx, x):
        ctx.bad = torch.tensor([bool((one - X[0]).abs().max() < 0.5) for one in x])
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return torch.where(ctx.bad.view(-1, 1, 1, 1), torch.nan, g)


class NanGradient(Net):
    def forward(self, x):
        return super().forward(NoSlope.apply(x))


def in_training(kind=Net):
    model = kind().train()
    model(X)
    model.norm.reset_running_stats()
    return model


def replaced_forward():
    model = in_training()
    inner = model.forward
    model.forward = lambda x: inner(x)
    return model


def in_inference_mode():
    with torch.inference_mode():
        return Net().eval()


def exported():
    return torch.export.export(NET, (X[:2],)).module()


def quietly(make):
    """What is made, without the warnings of torch that others wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


MANNERS: Mapping[str, Callable[[], object]] = {
    "an ordinary module": lambda: Net().eval(),
    "a plain function": lambda: lambda x: NET(x),
    "changes its input in place": lambda: InPlace().eval(),
    "in training mode": in_training,
    "in training mode, keeps its features": lambda: in_training(Keeps),
    "in training mode, cannot be copied": lambda: in_training(Locked),
    "in training mode, its forward replaced": replaced_forward,
    "made in inference mode": in_inference_mode,
    "scripted and frozen": lambda: quietly(lambda: torch.jit.freeze(torch.jit.script(Net().eval()))),
    "compiled": lambda: torch.compile(Net().eval(), backend="eager"),
    "exported for two images": lambda: quietly(exported),
    "answers an object with logits": lambda: saying(lambda logits, x: SimpleNamespace(logits=logits)),
    "answers a dict with logits": lambda: saying(lambda logits, x: {"logits": logits, "loss": None}),
    "answers a tuple": lambda: saying(lambda logits, x: (logits, x)),
    "answers one logit": lambda: saying(lambda logits, x: logits[:, :1]),
    "answers one row for all": lambda: saying(lambda logits, x: logits[0]),
    "answers in float64": lambda: saying(lambda logits, x: logits.double()),
    "answers in bfloat16": lambda: saying(lambda logits, x: logits.bfloat16()),
    "answers NaN": lambda: saying(lambda logits, x: logits * torch.nan),
    "answers logits a thousand times as large": lambda: saying(lambda logits, x: 1000 * logits),
    "answers probabilities": lambda: saying(lambda logits, x: logits.softmax(1)),
    "branches on brightness": lambda: Branches().eval(),
    "holds a function that knows it": lambda: KnowsItself().eval(),
    "no gradient to the image": lambda: saying(lambda logits, x: NET(x.detach()) + 0 * logits.detach()),
    "a NaN gradient at one image": lambda: NanGradient().eval(),
    "random": lambda: saying(lambda logits, x: logits + 0.02 * torch.randn_like(logits)),
    "no model": lambda: "mnist/none.onnx",
}
QUICK = Substitute(rounds=1, epochs=1, net="mlp")


def measured(model):
    *_, (outcome,) = lab.evaluate({"it": model}, ["pgd"], X, Y, [0, 0.1])
    return [round(p.accuracy, 2) for p in outcome.curve]


FUNCTIONS: Mapping[str, Callable[[object], object]] = {
    "attack, white box": lambda m: lab.attack("pgd", m, X, Y, eps=0.1, steps=5).success.tolist(),
    "attack, black box": lambda m: lab.attack("square", m, X, Y, eps=0.1, steps=60).success.tolist(),
    "evaluate": measured,
    "transfer": lambda m: lab.transfer({"it": m}, {"it": m}, X, Y, "bim", eps=0.1).success.tolist(),
    "clever": lambda m: [round(float(s), 3) for s in lab.clever(m, X[1:3], batches=5, samples=4).scores],
    "certify": lambda m: lab.certify(m, X[:2], sigma=0.1, n=50, n0=10).classes.tolist(),
    "check": lambda m: [c.question for c in lab.check(m, X, Y, 0.1)],
    "defend": lambda m: lab.attack("pgd", lab.defend("gaussian", m, sigma=0.3), X, Y, eps=0.1).success.tolist(),
    "detect": lambda m: [round(float(s), 2) for s in scores(Squeezing(), m, X)],
    "copy": lambda m: list(copy_oracle(Oracle(labels_of(m), 99), X, 4, QUICK))[-1].labels.tolist(),
}
WORKS, OTHER = "works", "answers otherwise"
MAY_DIFFER = ("answers in bfloat16", "answers logits a thousand times as large", "answers probabilities", "random")
"""Manners whose figures are rightly others than those of the ordinary network."""


@cache
def ordinary(function: str) -> object:
    """What a function finds for the ordinary network."""
    return FUNCTIONS[function](NET)


def outcome(function: str, manner: str) -> str:
    """What a function makes of a model: WORKS, WORKS and what it warned of, OTHER, or the sentence."""
    before = X.clone()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            found = FUNCTIONS[function](MANNERS[manner]())
        except lab.LabError as e:
            return str(e)
        finally:
            assert torch.equal(X, before), f"{function} with a model that {manner} changed the caller's images"
    told = sorted({str(w.message) for w in heard if issubclass(w.category, lab.LabWarning)})
    if manner not in MAY_DIFFER and found != ordinary(function) and not told:
        return OTHER
    return "; ".join([WORKS, *told])


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str], str]:
    return {(manner, function): outcome(function, manner) for manner in MANNERS for function in FUNCTIONS}


def test_a_model_of_any_manner_works_as_an_ordinary_one_or_is_refused_in_a_sentence(table):
    assert {at: said for at, said in table.items() if said == OTHER} == {}
    assert {at: said for at, said in table.items() if "\n" in said} == {}
    for function in FUNCTIONS:
        assert table["an ordinary module", function] == WORKS


def test_the_table_in_the_docs_is_what_the_functions_do(table):
    page = written(table)
    if os.environ.get("LAB_WRITE_DOCS"):
        DOCS.write_text(page, encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == page


def written(table) -> str:
    """docs/manners.md."""
    notes: list[str] = []
    for said in table.values():
        if said != WORKS and said not in notes:
            notes.append(said)
    lines = [
        "# Models of any manner",
        "",
        "What each public function makes of a network that is not quite ordinary. A dot: it works as with the ordinary",
        "network. A number: the sentence below, with which it is refused, or which it is told while it works.",
        "`tests/test_manners.py` finds and writes this table.",
        "",
        "| the model | " + " | ".join(FUNCTIONS) + " |",
        "|---" * (len(FUNCTIONS) + 1) + "|",
    ]
    for manner in MANNERS:
        said = [table[manner, function] for function in FUNCTIONS]
        lines.append(f"| {manner} | " + " | ".join("·" if s == WORKS else str(notes.index(s) + 1) for s in said) + " |")
    lines += ["", *(f"{k}. {note[0].upper()}{note[1:]}." for k, note in enumerate(notes, 1)), ""]
    return "\n".join(lines)
