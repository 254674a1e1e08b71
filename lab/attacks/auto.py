"""AutoAttack: four attacks one after another, each on what still stands, without a parameter to tune."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.attacks import apgd, fab, square
from lab.attacks.apgd import APGD
from lab.attacks.fab import FAB
from lab.attacks.norms import NORMS, eps_field, per_row
from lab.attacks.spec import Spec
from lab.attacks.square import Square
from lab.params import param
from lab.types import Attack, Goal, Iterate, Model, Steps


@dataclass(frozen=True)
class AutoAttack:
    """APGD with cross-entropy, APGD and FAB towards each of the nine next classes, then Square: the standard test.

    The result says which stage fooled each image.

    Source: Croce and Hein 2020 (AutoAttack), section 6, standard version: 100 steps each, 9 targets, 5,000 queries.
    Deviation: an image is left alone as soon as it is fooled. In L2 the squares of the fourth stage are missing, so
        that the test is weaker there than the published one. `quick` takes 20 steps, 3 targets and 500 queries.
    """

    eps: float = eps_field("linf", "l2")
    norm: Literal["linf", "l2"] = param("linf", help="How the size of the perturbation is measured.")
    version: Literal["standard", "quick"] = param(
        "standard", help="The published budgets, or a fifth of the steps and a third of the targets."
    )

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields every iterate of every stage, with its logits and the stage's name; drops what is fooled."""
        with torch.no_grad():
            logits = model(x)
        rows = yield Iterate(x, logits, "clean")
        if rows is not None:
            x, goal, logits = x[rows], goal.rows(rows), logits[rows]
        for name, attack in self._stages(logits.shape[1], goal):
            steps, rows = attack(model if name != "Square" else _scores(model), x, goal, rng), None
            while True:
                try:
                    iterate = steps.send(rows)
                except StopIteration:
                    break
                rows = yield self._within(iterate, name, x, logits)
                if rows is not None:
                    x, goal, logits = x[rows], goal.rows(rows), logits[rows]

    def longest(self, x: Tensor) -> int:
        """How many iterates it makes at most."""
        steps, targets, queries = self._budget
        return (1 + 2 * targets) * (steps + 1) + (queries if self.norm == "linf" else 0)

    @property
    def _budget(self) -> tuple[int, int, int]:
        """Steps and targets of APGD and FAB, queries of Square."""
        return (100, 9, 5000) if self.version == "standard" else (20, 3, 500)

    def _stages(self, classes: int, goal: Goal) -> Iterator[tuple[str, Attack]]:
        """The attacks, by name."""
        steps, targets, queries = self._budget
        ranks = range(1, 2 if goal.targeted else min(targets, classes - 1) + 1)
        yield "APGD-CE", APGD(self.eps, steps, self.norm)
        for rank in ranks:
            yield "APGD-T", APGD(self.eps, steps, self.norm, "dlr", rank)
        for rank in ranks:
            yield "FAB-T", FAB(steps, self.norm, rank)
        if self.norm == "linf":
            yield "Square", Square(self.eps, queries)

    def _within(self, it: Iterate, name: str, clean: Tensor, logits: Tensor) -> Iterate:
        """The iterate, without those images that lie farther away than epsilon, as FAB's may."""
        if name != "FAB-T":
            return Iterate(it.x, it.logits, name)
        far = NORMS[self.norm].length(it.x - clean) > self.eps
        x = torch.where(per_row(far, clean), clean, it.x)
        return Iterate(x, None if it.logits is None else torch.where(far.unsqueeze(1), logits, it.logits), name)


SPEC = Spec(
    key="autoattack",
    name="AutoAttack",
    summary="APGD, APGD and FAB towards nine classes, then Square, on what still stands: the standard test.",
    formula=r"\text{APGD}_{CE} \to \text{APGD}_{DLR}^{T} \to \text{FAB}^{T} \to \text{Square},\quad "
    r"\text{DLR} = -\frac{f_y - \max_{k \ne y} f_k}{f_{\pi_1} - f_{\pi_3}}",
    papers=(apgd.PAPER, fab.PAPER, square.PAPER),
    make=AutoAttack,
    until_reached=True,
    symbols={
        "T": "the attack is run towards each of nine classes",
        "pi": r"the classes by falling logit: $\pi_1$ the first, $\pi_3$ the third",
    },
)


def _scores(model: Model) -> Model:
    """The model without its gradients."""

    def ask(x: Tensor) -> Tensor:
        with torch.no_grad():
            return model(x)

    return ask
