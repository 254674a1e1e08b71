"""What black-box attacks reach: through a copy of the model, and by asking it again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.attacks import attack
from lab.attacks.norms import draw
from lab.experiments.blackbox.oracle import Ask, BudgetError, Oracle
from lab.experiments.blackbox.substitute import Round
from lab.images import Images
from lab.predict import classes_of, logits_of
from lab.progress import Progress
from lab.types import Frame, Model

QUERY_ATTACKS: Mapping[str, Mapping[str, Any]] = {
    "square": {"steps": 1000},
    "spsa": {"steps": 20, "samples": 64},
    "hopskipjump": {"steps": 10, "norm": "linf"},
}
"""Attacks that ask the black box itself, with settings that end within some thousand queries an image."""
JSMA: Mapping[str, Any] = {"theta": 1.0, "gamma": 0.145}
"""Papernot et al.: the largest step, and at most 14.5% of the values."""


@dataclass(frozen=True)
class Score:
    """How well a copy serves, on images that the black box classes right.

    Attributes:
        agreement: share of all test images on which copy and black box say the same.
        fgsm: share of the copy's FGSM examples that the black box misclassifies.
        jsma: the same of its JSMA examples; None where none were made.
        noise: the same of random noise, plus or minus eps at every pixel.
        n: how many images count for `fgsm` and `noise`.
    """

    agreement: float
    fgsm: float
    jsma: float | None
    noise: float
    n: int


@dataclass(frozen=True)
class Judge:
    """The lab's own look at a black box: what it says of the clean test images and of the same noise, asked once.

    Attributes:
        ask: the black box; these questions are the lab's, not the attacker's.
        data: test images that the attacker does not have.
        seen: its labels of them.
        eps: size of FGSM's perturbation and of the noise.
        noise: share that random noise of the same size fools.
    """

    ask: Ask
    data: Images
    seen: Tensor
    eps: float
    noise: float

    @classmethod
    def of(cls, ask: Ask, data: Images, eps: float = 0.3, seed: int = 0) -> Judge:
        """Asks for the labels of the test images, clean and with noise."""
        seen = ask(data.x)
        right = seen == data.y
        x, rng = data.x[right], torch.Generator().manual_seed(seed)
        signs = torch.cat([draw(rng, x[:1]).sign() for _ in x]) if len(x) else x
        fooled = ask((x + eps * signs).clamp(0, 1)) != data.y[right]
        return cls(ask, data, seen, eps, _share(fooled))

    @property
    def queries(self) -> int:
        """How many questions one score takes, JSMA apart."""
        return int((self.seen == self.data.y).sum())

    def score(self, net: Model, jsma: int = 0, seed: int = 0) -> Score:
        """Makes FGSM examples, and of so many images JSMA examples, on a copy, and shows them to the black box."""
        data, right = self.data, self.seen == self.data.y
        x, y = data.x[right], data.y[right]
        fgsm = attack("fgsm", net, x, y, eps=self.eps).x if len(x) else x
        by_jsma = None
        if jsma and len(x):
            classes = logits_of(net, x[:1]).shape[1]
            few, own = x[:jsma], y[:jsma]
            shift = torch.randint(1, classes, (len(few),), generator=torch.Generator().manual_seed(seed))
            targets = (own + shift) % classes
            predicted = classes_of(net, few)  # a goal that is reached already needs no attack
            open_ = (predicted != targets).nonzero().flatten()
            if len(open_):
                made = attack("jsma", net, few[open_], own[open_], target=targets[open_], **JSMA).x
                by_jsma = _share(self.ask(made) != own[open_])
        return Score(
            agreement=_share(classes_of(net, data.x) == self.seen),
            fgsm=_share(self.ask(fgsm) != y),
            jsma=by_jsma,
            noise=self.noise,
            n=len(x),
        )


def prepare(
    ask: Ask, data: Images, budget: int, rounds: int, *, counted: bool, eps: float = 0.3, seed: int = 0
) -> tuple[Judge, Oracle]:
    """The judge of a black box, and the oracle that the attacker asks.

    Args:
        ask: the black box.
        data: test images.
        budget: how many labels may be asked.
        rounds: how many augmentations will be judged.
        counted: whether the lab's own looks cost queries, too, as those at somebody else's endpoint do.
        eps: size of FGSM's perturbation.
        seed: of the noise.

    Raises:
        BudgetError: where judging alone takes more than the budget.
    """
    if not counted:
        return Judge.of(ask, data, eps, seed), Oracle(ask, budget)
    whole = Oracle(ask, budget)
    judge = Judge.of(whole, data, eps, seed)
    kept = (rounds + 1) * judge.queries
    if kept >= whole.left:
        raise BudgetError(
            f"measuring on {len(data):,} test images takes {whole.queries + kept:,} of the {budget:,} queries: take "
            "fewer test images or a larger budget"
        )
    return judge, Oracle(whole, whole.left - kept)


@dataclass(frozen=True)
class Copied:
    """One round of the substitute attack and what its copy is worth."""

    round: Round
    score: Score


def scored(rounds: Iterator[Round], judge: Judge, jsma: int = 0) -> Iterator[Copied]:
    """Each round with its score, as it comes."""
    for each in rounds:
        yield Copied(each, judge.score(each.net, jsma))


@dataclass(frozen=True)
class QueryCurve:
    """Success of an attack that asks the black box, against the queries it took.

    Attributes:
        attack: its key.
        queries: rising counts of queries an image [M].
        success: share of the images fooled within eps by then [M].
        n: how many images.
    """

    attack: str
    queries: Sequence[int]
    success: Sequence[float]
    n: int


def query_curve(
    key: str,
    model: Model,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    seed: int = 0,
    cancel: Callable[[], bool] = lambda: False,
    **params: Any,
) -> QueryCurve:
    """Runs a query attack on images [N,C,H,W] and notes when each was fooled with no value moved by more than eps.

    Raises:
        LabError: as `lab.attack`.
    """
    settings = {**QUERY_ATTACKS.get(key, {}), **params}
    if key != "hopskipjump":  # it looks for the smallest perturbation; the others work within eps
        settings["eps"] = eps
    result = attack(key, model, x, y, seed=seed, trace=2, progress=Progress(stop=cancel), **settings)
    return curve_of(key, result.frames, x, eps)


def curve_of(key: str, frames: Sequence[Frame], x: Tensor, eps: float) -> QueryCurve:
    """The course of a traced attack."""
    queries, success = [0], [0.0]
    done = torch.zeros(len(x), dtype=torch.bool)
    for frame in frames:
        done |= frame.success & (frame.distance["linf"] <= eps + 1e-6)
        spent = int(frame.queries.max())
        if spent > queries[-1]:
            queries.append(spent)
            success.append(_share(done))
        else:
            success[-1] = _share(done)
    return QueryCurve(key, tuple(queries), tuple(success), len(x))


def _share(hits: Tensor) -> float:
    return float(hits.double().mean()) if len(hits) else 0.0
