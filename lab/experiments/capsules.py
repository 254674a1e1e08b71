"""A capsule network looked into and attacked: parts, routing, drawings, the vote attack, and a rival beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from lab.attacks import attack as run_attack
from lab.experiments.robustness.curves import Outcome, evaluate, settings
from lab.models.capsnet import CapsNet, Capsules, squash
from lab.predict import classes_of
from lab.progress import Progress
from lab.types import Model

OFFSETS = tuple(k / 20 for k in range(-5, 6))
"""What is added to one dimension of a class capsule, from drawing to drawing (Sabour et al. 2017, figure 4)."""
WHITE = ("fgsm", "bim", "pgd", "mi_fgsm")
"""White-box attacks that are compared."""
VOTE, TRANSFER, WORST = "vote", "transfer", "worst"
"""Names of what is compared besides: the vote attack, images made on the other network, the worst for each image."""
CARRIED = "mi_fgsm"
"""The attack whose images are shown to the other network."""


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


def lengths_by_iteration(seen: Capsules) -> Tensor:
    """Lengths of the class capsules [R,N,K] that each iteration's routing makes of the votes."""
    votes = seen.votes.transpose(1, 2)  # [N,K,I,D]
    sums = [(shares.transpose(1, 2).unsqueeze(2) @ votes).squeeze(2) for shares in seen.routing]
    return torch.stack([squash(s).norm(dim=2) for s in sums])


def primary_maps(net: CapsNet, seen: Capsules) -> Tensor:
    """Lengths of the primary capsules [N,T,h,w]: a map over the image for each type."""
    types = net.primary.out_channels // net.pose
    height = (net.shape[1] - 15) // 2
    maps: Tensor = seen.primary.norm(dim=2).unflatten(1, (types, height, -1))
    return maps


def turned(net: CapsNet, capsule: Tensor, label: int, offsets: Tensor) -> Tensor:
    """Drawings [M,C,H,W] of a class capsule [D] with offsets [M,D] added to it; the other classes stay masked."""
    capsules = torch.zeros(len(offsets), net.transform.shape[1], len(capsule), device=net.transform.device)
    capsules[:, label] = (capsule + offsets).to(capsules)
    labels = torch.full((len(offsets),), label, device=capsules.device)
    with torch.no_grad():
        return net.reconstruct(capsules, labels).cpu()


def sweep(net: CapsNet, capsule: Tensor, label: int, steps: Sequence[float] = OFFSETS) -> Tensor:
    """Drawings [D,S,C,H,W] of a class capsule [D] with each dimension in turn moved by each step.

    Source: Sabour et al. 2017, section 5.1 and figure 4.
    """
    size = len(capsule)
    offsets = torch.eye(size).unsqueeze(1) * torch.tensor(steps).view(1, -1, 1)  # [D,S,D]
    drawn: Tensor = turned(net, capsule, label, offsets.flatten(0, 1)).unflatten(0, (size, len(steps)))
    return drawn


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
    cancel: Callable[[], bool] = lambda: False,
    watch: Callable[[float, str], None] = lambda share, message: None,
    **params: Any,
) -> Iterator[tuple[Outcome, ...]]:
    """Accuracy against epsilon of both networks, under the same attacks; tells what it has after each size.

    White-box attacks on both; MI-FGSM made on each and shown to the other; on the capsules also the vote attack: PGD on
    the average votes. For images made on another model, the last iterate counts.

    Args:
        rivals: the networks.
        x: clean images [N,C,H,W].
        y: their classes [N].
        eps: sizes of the perturbation in L-infinity.
        seed: of the attacks.
        cancel: asked after every iterate; once True, nothing more is told.
        watch: told the share that is done, and what is at work.
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
    total = len(WHITE) * 2 + len(borrowed)
    for key in WHITE:
        found: tuple[Outcome, ...] = ()
        for found in evaluate(white, [key], x, y, sizes, seed=seed, progress=Progress(stop=cancel), **params):
            watch((len(done) + len(found) - 0.5) / total, f"{key} on {found[-1].model}")
            yield (*done, *found)
        if cancel():
            return
        done = (*done, *found)
    right = {o.model: o.right for o in done}
    for name, kind, source, key in borrowed:
        blank = torch.where(right[name], math.inf, 0.0)
        outcome = Outcome(name, kind, "linf", right[name], blank, blank.clone(), (), complete=False)
        for size in sizes:
            watch((len(done) + len(outcome.eps) / len(sizes)) / total, f"{kind} on {name}")
            outcome = _shown(outcome, source, white[name], key, x, y, size, seed, cancel, params)
            if cancel():
                return
            yield (*done, outcome)
        done = (*done, replace(outcome, complete=True))
    yield done


def _shown(
    before: Outcome,
    source: Model,
    judge: Model,
    key: str,
    x: Tensor,
    y: Tensor,
    size: float,
    seed: int,
    cancel: Callable[[], bool],
    params: dict[str, Any],
) -> Outcome:
    """The outcome after one more size: images that still stand, attacked on the source and shown to the judge."""
    rows = before.needed.isinf().nonzero().flatten()
    if not size or not len(rows):
        return replace(before, eps=(*before.eps, size))
    at = rows.to(x.device)
    given = settings(key, before.norm, params)
    result = run_attack(key, source, x[at], y[at], seed=seed, progress=Progress(stop=cancel), eps=size, **given)
    fooled = classes_of(judge, result.x) != y.cpu()[rows]
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
