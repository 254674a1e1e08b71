"""Transfer: images made to fool one model, shown to others that were never touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lab.attacks import attack as run_attack
from lab.gate import check_batch
from lab.models.cards import Classifier, resized
from lab.models.catalog import load_model
from lab.predict import classes_of
from lab.progress import SILENT, Cancelled, Progress
from lab.statistics import share, wilson
from lab.types import DataError, Model, ModelError, ParamError

Named = Mapping[str, Model] | Sequence[Model | str]
"""Models by name, or models and keys of the catalogue."""


@dataclass(frozen=True)
class Cell:
    """How one model's adversarial images do on another.

    Attributes:
        success: share of the images that the target misclassifies.
        low: lower end of the 95% interval of that share (Wilson).
        high: upper end.
        fooled: number of images that the target misclassifies.
        agreement: of the images that fool both, the share on which the target names the same wrong class as the source;
            None where there are none.
        same: of the images that fool the source, the share on which the target names the same wrong class; None where
            there are none.
    """

    success: float
    low: float
    high: float
    fooled: int
    agreement: float | None
    same: float | None


@dataclass(frozen=True)
class Transfer:
    """Success and agreement of every source against every target, on the images that all models class right.

    Attributes:
        sources: names of the models that the images were made on.
        targets: names of the models that they were shown to.
        cells: one per source and target, [source][target].
        rows: int64 [M]; which of the given images count.
        n: how many they are.
        x: the attacked images of each source [M,C,H,W], in that model's size, on the CPU.
        predictions: the classes that each target sees in them, int64 [S,T,M].
        distortion: root mean square change of a value, averaged over the images, per source.
        complete: whether the images of every source that was asked for are here.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    rows: Tensor
    n: int
    x: Mapping[str, Tensor]
    predictions: Tensor
    distortion: tuple[float, ...]
    complete: bool = False

    @property
    def success(self) -> Tensor:
        """Success as a matrix [S,T]."""
        return torch.tensor([[cell.success for cell in row] for row in self.cells])

    @property
    def agreement(self) -> Tensor:
        """Agreement as a matrix [S,T]; NaN where no image fools both."""
        return torch.tensor(
            [[float("nan") if cell.agreement is None else cell.agreement for cell in row] for row in self.cells]
        )


def transfer(
    sources: Named,
    targets: Named,
    x: Tensor,
    y: Tensor,
    attack: str,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **params: Any,
) -> Transfer:
    """Attacks images on each source and shows them to each target.

    Only the images that every source and every target classes right count, as in the papers. A model of the lab gets
    each image in its own size (bilinear, antialiased); an attacked image is resized for its target.

    Args:
        sources: the models to make adversarial images on.
        targets: the models to show them to; the same model may be both.
        x: clean images [N,C,H,W] in [0,1].
        y: their classes, int64 [N].
        attack: key of the attack.
        seed: of its random numbers.
        progress: hears of the source at work; where it stops the work, the sources that are done are what is returned.
        **params: the attack's parameters, and what else `lab.attack` takes: restarts, draws, target, start.

    Source: Szegedy et al. 2013, section 4.2, tables 1 to 4; Goodfellow et al. 2015, section 8 (agreement).

    Raises:
        LabError: as `lab.attack`.
        ParamError: for several sizes.
        ModelError: for no models.
        DataError: where no image is classed right by all models.

    Example:
        >>> import lab
        >>> digits, keys = lab.load_data("mnist").rows(slice(0, 8)), ["mnist/softmax", "mnist/mlp"]
        >>> lab.transfer(keys, keys, digits.x, digits.y, "fgsm", eps=0.1).success.tolist()
        [[0.75, 0.25], [0.25, 0.75]]
    """
    *_, last = stream(sources, targets, x, y, attack, seed=seed, progress=progress, **params)
    return last


def stream(
    sources: Named,
    targets: Named,
    x: Tensor,
    y: Tensor,
    attack: str,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **params: Any,
) -> Iterator[Transfer]:
    """Answers as `transfer` does after every source: at first without any, at last with all of them."""
    x, y = check_batch(x, y)
    if "epsilons" in params:
        raise ParamError("a transfer matrix is of one size: leave out epsilons, and ask for one matrix after another")
    made_on, shown_to = _named(sources, "source"), _named(targets, "target")
    everyone = {id(model): model for model in (*made_on.values(), *shown_to.values())}.values()
    right = torch.stack([_classes(m, x) == y.cpu() for m in everyone]).all(0)
    rows = right.nonzero().flatten()
    if not len(rows):
        raise DataError("no image is classed right by all of these models: take more images, or fewer models")
    given = {name: _of_rows(value, rows, len(x)) for name, value in params.items()}
    x, y = x[rows.to(x.device)], y.cpu()[rows]
    so_far = Transfer((), tuple(shown_to), (), rows, len(rows), {}, torch.zeros(0, len(shown_to), len(rows)).long(), ())
    yield so_far
    for k, (name, model) in enumerate(made_on.items(), 1):
        part = progress.part((k - 1) / len(made_on), k / len(made_on), name)
        try:
            part.tell(0.0)
        except Cancelled:
            return
        clean = resized(x, model)
        if isinstance(start := given.get("start"), Tensor):
            given = {**given, "start": resized(start, model)}
        result = run_attack(attack, model, clean, y.to(clean.device), seed=seed, progress=part, **given)
        if not result.complete:
            return
        attacked, own = result.x.cpu(), result.predictions.cpu()
        predictions = torch.stack([own if m is model else _classes(m, attacked) for m in shown_to.values()])
        moved = (attacked - clean.cpu()).flatten(1).square().mean(1).sqrt().mean()
        so_far = replace(
            so_far,
            sources=(*so_far.sources, name),
            cells=(*so_far.cells, tuple(_cell(p, own, y) for p in predictions)),
            x={**so_far.x, name: attacked},
            predictions=torch.cat([so_far.predictions, predictions[None]]),
            distortion=(*so_far.distortion, float(moved)),
            complete=k == len(made_on),
        )
        yield so_far


def _of_rows(value: Any, rows: Tensor, n: int) -> Any:
    """What was given one an image, of these rows of the n images; anything else as it is."""
    if isinstance(value, Tensor):
        return value[rows.to(value.device)] if value.dim() and len(value) == n else value
    listed = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == n
    return [value[k] for k in rows.tolist()] if listed else value


def _classes(model: Model, x: Tensor) -> Tensor:
    """The classes that a model sees in images of any size, int64 [N], on the CPU."""
    return classes_of(model, resized(x, model))


def _cell(predictions: Tensor, by_source: Tensor, y: Tensor) -> Cell:
    fooled = predictions != y
    low, high = wilson(int(fooled.sum()), len(y))
    alike = predictions == by_source
    return Cell(
        success=float(fooled.double().mean()),
        low=low,
        high=high,
        fooled=int(fooled.sum()),
        agreement=share(alike[fooled & (by_source != y)]),
        same=share(alike[by_source != y]),
    )


def _named(models: Named, role: str) -> dict[str, Model]:
    """Models by name: their own, their key's, or their place.

    Raises:
        ModelError: for no models, or a key that does not exist.
    """
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        named = {}
        for k, given in enumerate(models, 1):
            model = load_model(given) if isinstance(given, str) else given
            name = model.card.key if isinstance(model, Classifier) else f"{role} {k}"
            named[name if name not in named else f"{name} ({k})"] = model
    if not named:
        raise ModelError(f"at least one {role} model is needed")
    return named


@dataclass(frozen=True)
class Matrix:
    """A transfer matrix together with all that it depends on: what is kept, shown and taken away.

    Attributes:
        transfer: the matrix, as far as it came.
        attack: key of the attack.
        params: the attack's parameters.
        seed: of its random numbers.
        dataset: key of the images' data set.
        ids: names of the images that were given [N].
        restarts: how often the attack was run at most.
        draws: looks that each answer of a random model was averaged over.
    """

    transfer: Transfer
    attack: str
    params: tuple[tuple[str, Any], ...]
    seed: int
    dataset: str
    ids: tuple[str, ...]
    restarts: int = 1
    draws: int = 1

    @property
    def complete(self) -> bool:
        """Whether the images of every source that was asked for are here."""
        return self.transfer.complete

    def record(self) -> dict[str, Any]:
        """The matrix and what it depends on as plain values; `ids` are the names of the images that count."""
        of = self.transfer
        return {
            "attack": self.attack,
            "params": dict(self.params),
            "seed": self.seed,
            "restarts": self.restarts,
            "draws": self.draws,
            "dataset": self.dataset,
            "images": of.n,
            "ids": [self.ids[i] for i in of.rows.tolist()],
            "complete": of.complete,
            "sources": list(of.sources),
            "targets": list(of.targets),
            "cells": [[asdict(cell) for cell in row] for row in of.cells],
            "distortion": list(of.distortion),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The cells, one for each source and target."""
        of = self.transfer
        return [
            {"source": source, "target": target, "n": of.n, **asdict(cell)}
            for source, row in zip(of.sources, of.cells, strict=True)
            for target, cell in zip(of.targets, row, strict=True)
        ]
