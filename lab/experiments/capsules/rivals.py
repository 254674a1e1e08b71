"""A capsule network and a rival under the same attacks, among them the vote attack."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from lab.attacks import attack
from lab.attacks.catalog import find_attack
from lab.experiments.robustness.curves import Outcome, evaluate, settings
from lab.models.capsnet import CapsNet
from lab.predict import classes_of
from lab.progress import SILENT, Cancelled, Progress
from lab.types import Model

WHITE = ("fgsm", "bim", "pgd", "mi_fgsm")
"""White-box attacks that are compared."""
VOTE, TRANSFER, WORST = "vote", "transfer", "worst"
"""Names of what is compared besides: the vote attack, images made on the other network, the worst for each image."""
CARRIED = "mi_fgsm"
"""The attack whose images are shown to the other network."""
ASKED = 2 * len(WHITE) + 3
"""Outcomes of a whole comparison."""
TITLES = {VOTE: "Vote attack", TRANSFER: "Made on the other net", WORST: "Worst of all, per image"}


def title_of(kind: str) -> str:
    """The name of what is compared, for a person."""
    return TITLES.get(kind) or find_attack(kind).name


class Votes(nn.Module):
    """A capsule network without its routing: the class capsules are the averages of all votes.

    What the vote attack looks at. Its gradient reaches every vote alike, whatever the routing would have done; the
    images are then judged by the network with its routing.

    Source: Gu, Wu and Tresp 2021, "Effective and Efficient Vote Attack on Capsule Networks".
    Deviation: the loss is the attack's own on log(|s|^2) of the average vote, as everywhere in the lab, instead of on
        the squashed average; the order of classes is the same and the gradient is not saturated.
    """

    def __init__(self, net: CapsNet) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,K]: log(|s|^2) after the first, even routing, which is the average vote up to a factor."""
        return self.net.explore(x, iterations=1).logits


@dataclass(frozen=True)
class Rivals:
    """The two networks that are compared, by name, and the capsules in the first."""

    capsules: Model
    other: Model
    net: CapsNet
    names: tuple[str, str] = ("capsules", "other")


def compare(
    rivals: Rivals,
    x: Tensor,
    y: Tensor,
    eps: Sequence[float],
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **params: Any,
) -> Iterator[tuple[Outcome, ...]]:
    """Accuracy against epsilon of both networks, under the same attacks; yields what there is after each size.

    White-box attacks on both; MI-FGSM made on each and shown to the other; on the capsules also the vote attack: PGD on
    the average votes. For images made on another model, the last iterate counts.

    Args:
        rivals: the networks.
        x: clean images [N,C,H,W].
        y: their classes [N].
        eps: sizes of the perturbation in L-infinity.
        seed: of the attacks.
        progress: hears of the attack and the network at work; where it stops the work, nothing more is yielded, and
            the last outcome is incomplete.
        **params: for every attack that has such a parameter.

    Raises:
        LabError: as `lab.experiments.robustness.curves.evaluate`.
    """
    first, second = rivals.names
    white = {first: rivals.capsules, second: rivals.other}
    borrowed: tuple[tuple[str, str, Model, str], ...] = (
        (first, VOTE, Votes(rivals.net), "pgd"),
        (first, TRANSFER, rivals.other, CARRIED),
        (second, TRANSFER, rivals.capsules, CARRIED),
    )
    sizes = tuple(sorted({float(e) for e in eps}))
    done: tuple[Outcome, ...] = ()
    total = len(WHITE) * len(white) + len(borrowed)
    for key in WHITE:
        part = progress.part(len(done) / total, (len(done) + len(white)) / total)
        outcomes: tuple[Outcome, ...] = ()
        for outcomes in evaluate(white, [key], x, y, sizes, seed=seed, progress=part, **params):
            yield (*done, *outcomes)
        done = (*done, *outcomes)
        if progress.cancelled:
            return
    right = {o.model: o.right for o in done}
    for name, kind, source, key in borrowed:
        part = progress.part(len(done) / total, (len(done) + 1) / total, TITLES[kind], name)
        blank = torch.where(right[name], math.inf, 0.0)
        outcome = Outcome(name, kind, "linf", right[name], blank, blank.clone(), (), complete=False)
        loan = _Loan(source, white[name], key, seed, settings(key, "linf", params))
        try:
            for k, size in enumerate(sizes):
                part.tell(k / len(sizes))
                stretch = part.part(k / len(sizes), (k + 1) / len(sizes))
                outcome = loan.step(outcome, x, y, size, stretch)
                yield (*done, outcome)
        except Cancelled:
            return
        done = (*done, replace(outcome, complete=True))
    yield done


@dataclass(frozen=True)
class _Loan:
    """An attack whose images are made on one network and shown to another.

    Attributes:
        source: on which they are made.
        judge: to which they are shown.
        attack: its key.
        seed: of the attack.
        params: its parameters, without epsilon.
    """

    source: Model
    judge: Model
    attack: str
    seed: int
    params: dict[str, Any]

    def step(self, before: Outcome, x: Tensor, y: Tensor, size: float, progress: Progress) -> Outcome:
        """The outcome after one more size, at which the images that still stand are attacked.

        Raises:
            Cancelled: where that was stopped.
        """
        rows = before.needed.isinf().nonzero().flatten()
        if not size or not len(rows):
            return replace(before, eps=(*before.eps, size))
        at = rows.to(x.device)
        result = attack(
            self.attack, self.source, x[at], y[at], seed=self.seed, eps=size, progress=progress, **self.params
        )
        progress.check()
        fooled = classes_of(self.judge, result.x) != y.cpu()[rows]
        needed, distance = before.needed.clone(), before.distance.clone()
        needed[rows[fooled]], distance[rows[fooled]] = size, result.distance["linf"].cpu()[fooled]
        return replace(before, needed=needed, distance=distance, eps=(*before.eps, size))


def worst_of(outcomes: Sequence[Outcome], model: str) -> Outcome:
    """For each image the attack that needed least of all, at the sizes that all of a network's attacks have tried."""
    own = [o for o in outcomes if o.model == model and o.attack != WORST]

    def both(a: Outcome, b: Outcome) -> Outcome:
        eps = tuple(e for e in a.eps if e in b.eps)
        needed, distance = torch.minimum(a.needed, b.needed), torch.minimum(a.distance, b.distance)
        return replace(a, needed=needed, distance=distance, eps=eps, complete=a.complete and b.complete)

    return replace(reduce(both, own), attack=WORST)
