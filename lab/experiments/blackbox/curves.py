"""What black-box attacks reach: through a copy of the model, and by asking it again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lab.attacks import attack
from lab.attacks.norms import draw
from lab.experiments.blackbox.oracle import BlackBox, BudgetError, Oracle
from lab.experiments.blackbox.substitute import Round, Substitute, copy_oracle
from lab.images import Images
from lab.predict import classes_of, logits_of
from lab.progress import SILENT, Progress
from lab.statistics import share
from lab.types import Frame, Model

QUERY_ATTACKS: Mapping[str, Mapping[str, Any]] = {
    "square": {"steps": 1000},
    "spsa": {"steps": 20, "samples": 64},
    "hopskipjump": {"steps": 10, "norm": "linf"},
}
"""Attacks that ask the black box itself, with settings that end within some thousand queries an image."""
SUBSTITUTE = "substitute"
"""What the curve of the substitute attack is called among the keys of attacks."""
JSMA: Mapping[str, Any] = {"theta": 1.0, "gamma": 0.145}
"""Papernot et al.: the largest step, and at most 14.5% of the values."""


@dataclass(frozen=True)
class Score:
    """How well a copy serves, on images that the black box classes right.

    Attributes:
        agreement: share of all test images on which copy and black box say the same.
        fgsm: share of the copy's FGSM examples that the black box misclassifies; None where none were made.
        jsma: the same of its JSMA examples.
        noise: the same of random noise, plus or minus eps at every pixel.
        n: how many images count for `fgsm` and `noise`.
    """

    agreement: float
    fgsm: float | None
    jsma: float | None
    noise: float | None
    n: int


@dataclass(frozen=True)
class Judge:
    """The lab's own look at a black box: what it says of the clean test images and of the same noise, asked once.

    Attributes:
        ask: the black box; these questions are the lab's, not the attacker's.
        data: test images that the attacker does not have.
        labels: its labels of them.
        eps: size of FGSM's perturbation and of the noise.
        noise: share of the images that random noise of the same size fools; None where none is classed right.
    """

    ask: BlackBox
    data: Images
    labels: Tensor
    eps: float
    noise: float | None

    @classmethod
    def of(cls, ask: BlackBox, data: Images, eps: float = 0.3, seed: int = 0) -> Judge:
        """Asks for the labels of the test images, clean and with noise."""
        labels = ask(data.x)
        right = labels == data.y
        x, rng = data.x[right], torch.Generator().manual_seed(seed)
        signs = torch.cat([draw(rng, x[:1]).sign() for _ in x]) if len(x) else x
        fooled = ask((x + eps * signs).clamp(0, 1)) != data.y[right]
        return cls(ask, data, labels, eps, share(fooled))

    @property
    def queries(self) -> int:
        """How many questions one score takes, JSMA apart."""
        return int((self.labels == self.data.y).sum())

    def score(self, net: Model, jsma: int = 0, seed: int = 0) -> Score:
        """Makes FGSM examples, and of so many images JSMA examples, on a copy, and shows them to the black box."""
        data, right = self.data, self.labels == self.data.y
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
                by_jsma = share(self.ask(made) != own[open_])
        return Score(
            agreement=float((classes_of(net, data.x) == self.labels).double().mean()),
            fgsm=share(self.ask(fgsm) != y),
            jsma=by_jsma,
            noise=self.noise,
            n=len(x),
        )


def prepare(
    ask: BlackBox, data: Images, budget: int, rounds: int, *, counted: bool, eps: float = 0.3, seed: int = 0
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


def extract(
    ask: BlackBox,
    x: Tensor,
    classes: int,
    test: Images,
    settings: Substitute,
    *,
    budget: int,
    counted: bool,
    eps: float = 0.3,
    jsma: int = 0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Iterator[tuple[Copied, ...]]:
    """Copies a black box and attacks it through the copy; yields the rounds so far after each.

    Args:
        ask: the black box.
        x: the attacker's first images [N,C,H,W] in [0,1].
        classes: how many there are.
        test: images that the attacker does not have.
        settings: of the substitute.
        budget: how many labels may be asked.
        counted: whether the looks at the test images cost queries, too.
        eps: size of the FGSM examples.
        jsma: of how many images JSMA examples are made, too.
        seed: of all random numbers.
        progress: as in `copy_oracle`.

    Raises:
        LabError: as `prepare` and `copy_oracle`.
        Cancelled: where it is stopped before the test images were looked at.
    """
    progress.tell(0.0, "asking for the labels of the test images")
    judge, oracle = prepare(ask, test, budget, settings.rounds, counted=counted, eps=eps, seed=seed)
    rounds: tuple[Copied, ...] = ()
    for each in scored(copy_oracle(oracle, x, classes, settings, seed=seed, progress=progress), judge, jsma):
        rounds = (*rounds, each)
        yield rounds


@dataclass(frozen=True)
class Extraction:
    """A substitute attack together with all that it depends on: what is kept, shown and taken away.

    Attributes:
        rounds: as far as they came; at least one.
        oracle: key of the model, or address of the endpoint.
        dataset: key of the data set of the images.
        initial: how many of the data set's images were the first, or a digest of a person's own.
        tests: how many test images there were.
        budget: labels that might be asked.
        eps: size of the FGSM examples.
        settings: of the substitute.
        seed: of all random numbers.
    """

    rounds: tuple[Copied, ...]
    oracle: str
    dataset: str
    initial: str
    tests: int
    budget: int
    eps: float
    settings: Substitute
    seed: int

    @property
    def complete(self) -> bool:
        """Whether the last round was reached."""
        return self.rounds[-1].round.last

    def record(self) -> dict[str, Any]:
        """The rounds and what they depend on, as plain values."""
        return {
            "oracle": self.oracle,
            "dataset": self.dataset,
            "initial": self.initial,
            "test_images": self.tests,
            "budget": self.budget,
            "eps": self.eps,
            "seed": self.seed,
            "settings": asdict(self.settings),
            "complete": self.complete,
            "rounds": self.rows(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The rounds: labels asked, the copy's agreement on them, and its score."""
        return [
            {"round": each.round.number, "queries": each.round.queries, "fit": each.round.fit, **asdict(each.score)}
            for each in self.rounds
        ]


@dataclass(frozen=True)
class QueryCurve:
    """Success of an attack against the queries it took.

    Attributes:
        attack: its key.
        queries: rising counts of queries [M]: an image, or for all together where it says so.
        success: share of the images fooled within eps by then [M].
        n: how many images.
    """

    attack: str
    queries: Sequence[int]
    success: Sequence[float]
    n: int

    @property
    def together(self) -> QueryCurve:
        """The curve against the queries for all images together, where it is against those for one."""
        return replace(self, queries=tuple(queries * self.n for queries in self.queries))


def copy_curve(rounds: Sequence[Copied], ask: BlackBox, x: Tensor, y: Tensor, eps: float) -> QueryCurve:
    """Success of FGSM on the copy of each round, against the labels asked by then, for all images together.

    Args:
        rounds: at least one.
        ask: the black box.
        x: images [N,C,H,W] that it classes right; at least one.
        y: their classes, int64 [N].
        eps: size of the examples.
    """
    success = []
    for each in rounds:
        examples = attack("fgsm", each.round.net, x, y, eps=eps).x
        success.append(int((ask(examples) != y).sum()) / len(x))
    return QueryCurve(SUBSTITUTE, tuple(each.round.queries for each in rounds), tuple(success), len(x))


def query_curve(
    key: str,
    model: Model,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **params: Any,
) -> QueryCurve:
    """Runs a query attack on images [N,C,H,W] and notes when each was fooled with no value moved by more than eps.

    Raises:
        LabError: as `lab.attack`.
        Cancelled: where the work is to stop.
    """
    settings = {**QUERY_ATTACKS.get(key, {}), **params}
    if key != "hopskipjump":  # it looks for the smallest perturbation; the others work within eps
        settings["eps"] = eps
    result = attack(key, model, x, y, seed=seed, trace=2, progress=progress.part(0.0, 1.0, key), **settings)
    progress.check()
    return curve_of(key, result.frames, x, eps)


def curve_of(key: str, frames: Sequence[Frame], x: Tensor, eps: float) -> QueryCurve:
    """The curve of a traced attack on images [N,C,H,W], at least one."""
    queries, success = [0], [0.0]
    done = torch.zeros(len(x), dtype=torch.bool)
    for frame in frames:
        done |= frame.success & (frame.distance["linf"] <= eps + 1e-6)
        spent, fooled = int(frame.queries.max()), int(done.sum()) / len(x)
        if spent > queries[-1]:
            queries.append(spent)
            success.append(fooled)
        else:
            success[-1] = fooled
    return QueryCurve(key, tuple(queries), tuple(success), len(x))
