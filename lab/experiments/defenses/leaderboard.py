"""How models stand under attackers of rising strength, all on the same images and at the same epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from lab.attacks import attack
from lab.models.cards import Card, resized
from lab.predict import classes_of
from lab.progress import SILENT, Cancelled, Progress
from lab.types import Model

STEPS = 40
"""How many steps PGD takes."""
COLUMNS: Mapping[str, str] = {
    "clean": "Clean",
    "fgsm": "FGSM",
    "pgd": f"PGD-{STEPS}",
    "transfer": "Transfer",
    "autoattack": "AutoAttack",
}
"""What may be measured, in the order of strength, with its name for a person."""


def transferred(source: Model, x: Tensor, y: Tensor, eps: float, seed: int = 0, progress: Progress = SILENT) -> Tensor:
    """Images [N,C,H,W] that MI-FGSM makes on another model, for everyone to be shown.

    Args:
        source: the other model.
        x: clean images [N,C,H,W].
        y: their classes [N].
        eps: size of the perturbation (L-infinity).
        seed: of the attack.
        progress: may stop the attack.

    Raises:
        Cancelled: where it was stopped before its end.
    """
    result = attack("mi_fgsm", source, resized(x, source), y, eps=eps, seed=seed, progress=progress)
    if not result.complete:
        raise Cancelled
    return result.x


def accuracies(
    model: Model,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    made: Tensor | None = None,
    autoattack: bool = False,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, float]:
    """Accuracies of a model by column; an image that is wrong when clean counts as wrong under every attack.

    Args:
        model: images -> logits.
        x: clean images [N,C,H,W].
        y: their classes [N].
        eps: size of the perturbation (L-infinity).
        made: images made on another model, from `transferred`; None to leave that column out.
        autoattack: whether to run AutoAttack, which is slow on a model that holds.
        seed: of the attacks.
        progress: hears of the attacks; where it stops the work, what was not finished is left out.
    """
    x = resized(x, model)
    right = classes_of(model, x) == y.cpu()
    clean = float(right.double().mean())
    values = {"clean": clean}
    rows = right.nonzero().flatten().to(x.device)
    plan: dict[str, Mapping[str, Any]] = {"fgsm": {}, "pgd": {"steps": STEPS}}
    if autoattack:
        plan["autoattack"] = {}
    try:
        for k, (key, params) in enumerate(plan.items()):
            part = progress.part(k / len(plan), (k + 1) / len(plan), key)
            part.tell(0.0)
            if not len(rows) or eps == 0:
                values[key] = clean
                continue
            result = attack(key, model, x[rows], y[rows], eps=eps, seed=seed, drop_solved=True, progress=part, **params)
            if not result.complete:
                raise Cancelled
            values[key] = float((~result.success).sum()) / len(x)
        if made is not None:
            stands = right & (classes_of(model, resized(made, model)) == y.cpu())
            values["transfer"] = float(stands.double().mean())
    except Cancelled:
        pass
    return {name: values[name] for name in COLUMNS if name in values}


@dataclass(frozen=True)
class Entry:
    """A model's place on the leaderboard.

    Attributes:
        model: its key.
        name: its name for a person.
        accuracies: what was measured, by column.
        card: its accuracy under AutoAttack at this epsilon, as its card states it; None where it states none.
    """

    model: str
    name: str
    accuracies: Mapping[str, float]
    card: float | None

    @property
    def values(self) -> dict[str, float | None]:
        """Every column; AutoAttack is the card's where it was not run now."""
        values = {key: self.accuracies.get(key) for key in COLUMNS}
        return values | {"autoattack": self.card} if values["autoattack"] is None else values


def entry(card: Card, eps: float, values: Mapping[str, float]) -> Entry:
    """The place of the model that has this card.

    Args:
        card: of the model.
        eps: size of the perturbation.
        values: from `accuracies`.
    """
    stated = card.measured("autoattack", eps)
    return Entry(card.key, card.name, values, None if stated is None else stated.accuracy)


@dataclass(frozen=True)
class Leaderboard:
    """Models beside one another, together with all that the figures depend on.

    Attributes:
        entries: the models, as far as they were measured.
        task: their label space.
        dataset: key of the data set.
        eps: size of the perturbation (L-infinity).
        images: how many were attacked, the first of the data set.
        source: key of the model on which images were made to transfer.
        seed: of the attacks.
        asked: how many models were to be measured; 0 where that is not known.
    """

    entries: tuple[Entry, ...]
    task: str
    dataset: str
    eps: float
    images: int
    source: str
    seed: int
    asked: int = 0

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return len(self.entries) >= self.asked and all("pgd" in entry.accuracies for entry in self.entries)

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """The entries, the model first that keeps most under AutoAttack, or under PGD where that was not measured."""

        def kept(entry: Entry) -> float:
            full = entry.values["autoattack"]
            return (entry.values["pgd"] or 0.0) if full is None else full

        return tuple(sorted(self.entries, key=lambda e: -kept(e)))

    def record(self) -> dict[str, Any]:
        """Everything that was measured, and what it depends on."""
        about = {k: v for k, v in asdict(self).items() if k != "entries"}
        return about | {"models": [e.model for e in self.ranked], "rows": self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        """The table, best first."""
        return [{"Model": e.name} | {COLUMNS[key]: v for key, v in e.values.items()} for e in self.ranked]
