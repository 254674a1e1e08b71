"""The substitute attack: a black box copied by asking it, and attacked through the copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.attacks.gradient import input_gradient
from lab.experiments.blackbox.oracle import Oracle
from lab.images import Images
from lab.models import nets
from lab.params import Param, describe, param
from lab.predict import classes_of
from lab.progress import SILENT, Cancelled, Progress
from lab.types import DataError

NETS: Mapping[str, Callable[..., nn.Module]] = {
    "mlp": partial(nets.build, "mlp", widths=(200, 200)),
    "softmax": partial(nets.build, "softmax"),
    "cnn": partial(nets.build, "cnn_small"),
}
"""Architectures of a substitute: two hidden layers of 200 units, softmax regression, a small convolutional net."""


@dataclass(frozen=True)
class Substitute:
    """How the black box is copied: label, train, add each image moved to where the copy's answer changes, repeat.

    Source: Papernot et al. 2016, algorithm 1 (Jacobian-based augmentation), with the periodical step size and the
        reservoir sampling of Papernot, McDaniel and Goodfellow 2016, section 4; 200-200 units, SGD at 0.01 with
        momentum 0.9 and 10 epochs a round as there.
    """

    net: Literal["mlp", "softmax", "cnn"] = param(
        "mlp", help="The copy: two hidden layers of 200 units, one linear layer, or a small convolutional net."
    )
    rounds: int = param(6, bounds=(0, 12), help="How often the images are augmented; each round doubles them.")
    step: float = param(
        0.1,
        bounds=(0, 1),
        pixels=True,
        help="Lambda: how far an image moves along the sign of the copy's Jacobian, at the class that the oracle said.",
    )
    period: int = param(
        3, bounds=(1, 12), help="Tau: after so many rounds the images move the other way (the periodical step size)."
    )
    doubling: int = param(
        6, bounds=(0, 12), help="Sigma: rounds that double the images; later ones add a random sample of fixed size."
    )
    sample: int = param(
        400, bounds=(1, 10_000), unit="images", help="Kappa: how many are added in each round after those."
    )
    epochs: int = param(10, bounds=(1, 200), help="How often each round's images are seen.")
    optimiser: Literal["sgd", "adam"] = param("sgd", help="SGD with momentum 0.9, or Adam.")
    lr: float = param(0.01, bounds=(1e-5, 1), help="Learning rate.")

    def queries(self, initial: int) -> int:
        """How many labels a run asks for that starts from so many images."""
        total = initial
        for k in range(self.rounds):
            total += total if k < self.doubling else min(self.sample, total)
        return total


PARAMS: tuple[Param, ...] = describe(Substitute, {})
BATCH = 128
MOMENTUM = 0.9
LIGHT = 10
"""Images that a light round keeps."""


@dataclass(frozen=True)
class Round:
    """What one round left.

    Attributes:
        number: 0 for the initial images, then 1, 2, ...
        kept: the copy as it was after this round [N,C,H,W] -> logits, in eval mode; None in a light round.
        x: all images asked so far [M,C,H,W]; in a light round the newest of those.
        labels: the oracle's answers, int64 [M].
        fresh: how many of them are new in this round, the last ones.
        queries: how many labels were asked so far.
        fit: share of the images on which the copy agrees with the oracle.
        last: whether no other follows: all were made, or the budget is spent.
    """

    number: int
    kept: nn.Module | None
    x: Tensor
    labels: Tensor
    fresh: int
    queries: int
    fit: float
    last: bool

    @property
    def net(self) -> nn.Module:
        """The copy as it was after this round [N,C,H,W] -> logits, in eval mode.

        Raises:
            LookupError: of a light round.
        """
        if self.kept is None:
            raise LookupError("a light round has no copy")
        return self.kept

    def newest(self, count: int) -> tuple[Tensor, Tensor]:
        """The first of the images that are new in this round [M,C,H,W], at most so many, and their labels [M]."""
        first = max(0, len(self.x) - self.fresh)
        return self.x[first:][:count], self.labels[first:][:count]

    def light(self) -> Round:
        """This round without its copy, and with LIGHT of its newest images: what can be shown of it, in few bytes."""
        x, labels = self.newest(LIGHT)
        return replace(self, kept=None, x=x.clone(), labels=labels.clone())


def copy_oracle(
    oracle: Oracle,
    x: Tensor,
    classes: int,
    settings: Substitute | None = None,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Iterator[Round]:
    """Trains a copy of a black box, round by round; ends early where the budget does.

    Args:
        oracle: answers labels.
        x: the initial images [N,C,H,W] in [0,1]; a few of each class.
        classes: how many there are.
        settings: of the substitute; None for the paper's.
        seed: of weights, batches and samples.
        progress: hears of every epoch, a round taking as long as all before it; where it stops the work, no further
            round is yielded.

    Raises:
        DataError: for no images.
        BudgetError: where even the initial images are more than the budget allows.
    """
    settings = settings or Substitute()
    if not len(x):
        raise DataError("a substitute needs at least one initial image")
    rng = torch.Generator().manual_seed(seed)
    net = NETS[settings.net](tuple(x.shape[1:]), classes, seed=seed)
    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(net.parameters(), settings.lr, MOMENTUM)
        if settings.optimiser == "sgd"
        else torch.optim.Adam(net.parameters(), settings.lr)
    )
    x, fresh = x.cpu().clone(), len(x)
    labels = oracle(x)
    total = settings.rounds + 1
    for number in range(total):
        part = progress.part(2.0 ** (number - total) if number else 0.0, 2.0 ** (number + 1 - total))
        net.train()
        for epoch in range(settings.epochs):
            try:
                part.tell(epoch / settings.epochs, f"round {number + 1} of {total}")
            except Cancelled:
                return
            for rows in torch.randperm(len(x), generator=rng).split(BATCH):
                with torch.enable_grad():
                    loss = F.cross_entropy(net(x[rows]), labels[rows])
                    gradients = torch.autograd.grad(loss, list(net.parameters()))
                for p, g in zip(net.parameters(), gradients, strict=True):
                    p.grad = g
                optimiser.step()
        if progress.cancelled:
            return
        copy = _frozen(net, settings, tuple(x.shape[1:]), classes)
        agree = float((classes_of(copy, x) == labels).double().mean())
        last = number == settings.rounds or not oracle.left
        yield Round(number, copy, x, labels, fresh, oracle.queries, agree, last)
        if last:
            return
        count = len(x) if number < settings.doubling else min(settings.sample, len(x))
        count = min(count, oracle.left)
        rows = torch.arange(len(x)) if count == len(x) else torch.randperm(len(x), generator=rng)[:count]
        new = augmented(copy, x[rows], labels[rows], settings.step * (-1) ** (number // settings.period))
        x, labels, fresh = torch.cat([x, new]), torch.cat([labels, oracle(new)]), count


def augmented(net: nn.Module, x: Tensor, labels: Tensor, step: float) -> Tensor:
    """Images moved along the sign of the Jacobian's row at the oracle's label, within [0,1]."""
    _, slope = input_gradient(net, x, lambda logits: logits.gather(1, labels.unsqueeze(1)).squeeze(1))
    return (x + step * slope.sign()).clamp(0, 1)


def _frozen(net: nn.Module, settings: Substitute, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The net as it is now, apart from what becomes of it."""
    copy = NETS[settings.net](shape, classes)
    copy.load_state_dict(net.state_dict())
    return copy.eval().requires_grad_(False)


def balanced(data: Images, count: int, seed: int = 0) -> tuple[Images, Images]:
    """Some images, as many of each class as can be, drawn at random, and all the others.

    Raises:
        DataError: where there are not that many.
    """
    if not 1 <= count < len(data):
        raise DataError(f"between 1 and {len(data) - 1:,} images can be drawn of {len(data):,}, not {count:,}")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    first = order[_places(data.y[order]).argsort(stable=True)]
    return data.rows(first[:count].tolist()), data.rows(first[count:].tolist())


def _places(y: Tensor) -> Tensor:
    """The place of each image among those of its class, in order [N]."""
    places = torch.zeros_like(y)
    for c in y.unique():
        own = y == c
        places[own] = torch.arange(int(own.sum()))
    return places
