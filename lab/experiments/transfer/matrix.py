"""Transfer: images made to fool one model, shown to others that were never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lab.attacks import attack as run_attack
from lab.models.cards import Classifier, resized
from lab.models.catalog import load_model
from lab.predict import classes_of
from lab.statistics import wilson
from lab.types import DataError, Model, ModelError

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
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    rows: Tensor
    n: int
    x: Mapping[str, Tensor]
    predictions: Tensor
    distortion: tuple[float, ...]

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
    cancel: Callable[[], bool] = lambda: False,
    watch: Callable[[float, str], None] = lambda share, message: None,
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
        cancel: asked after every iterate; once True, the sources that are done are what is returned.
        watch: told the share that is done, and what is at work.
        **params: the attack's parameters.

    Source: Szegedy et al. 2013, section 4.2, tables 1 to 4; Goodfellow et al. 2015, section 8 (agreement).

    Raises:
        LabError: as `lab.attack`.
        ModelError: for no models.
        DataError: where no image is classed right by all models.

    Example:
        >>> import lab
        >>> digits, keys = lab.load_data("mnist").rows(slice(0, 8)), ["mnist/softmax", "mnist/mlp"]
        >>> lab.transfer(keys, keys, digits.x, digits.y, "fgsm", eps=0.1).success.tolist()
        [[0.75, 0.25], [0.25, 0.75]]
    """
    *_, last = stream(sources, targets, x, y, attack, seed=seed, cancel=cancel, watch=watch, **params)
    return last


def stream(
    sources: Named,
    targets: Named,
    x: Tensor,
    y: Tensor,
    attack: str,
    *,
    seed: int = 0,
    cancel: Callable[[], bool] = lambda: False,
    watch: Callable[[float, str], None] = lambda share, message: None,
    **params: Any,
) -> Iterator[Transfer]:
    """As `transfer`, told after every source: at first without any, at last with all of them."""
    made, shown = _named(sources, "source"), _named(targets, "target")
    everyone = {id(model): model for model in (*made.values(), *shown.values())}.values()
    right = torch.stack([_classes(m, x) == y.cpu() for m in everyone]).all(0)
    rows = right.nonzero().flatten()
    if not len(rows):
        raise DataError("no image is classed right by all of these models: take more images, or fewer models")
    x, y = x[rows.to(x.device)], y.cpu()[rows]
    found = Transfer((), tuple(shown), (), rows, len(rows), {}, torch.zeros(0, len(shown), len(rows)).long(), ())
    yield found
    for k, (name, model) in enumerate(made.items()):
        watch(k / len(made), name)
        clean = resized(x, model)
        result = run_attack(attack, model, clean, y.to(clean.device), seed=seed, cancel=cancel, **params)
        if not result.complete:
            return
        attacked, own = result.x.cpu(), result.predictions.cpu()
        seen = torch.stack([own if m is model else _classes(m, attacked) for m in shown.values()])
        moved = (attacked - clean.cpu()).flatten(1).square().mean(1).sqrt().mean()
        found = replace(
            found,
            sources=(*found.sources, name),
            cells=(*found.cells, tuple(_cell(p, own, y) for p in seen)),
            x={**found.x, name: attacked},
            predictions=torch.cat([found.predictions, seen[None]]),
            distortion=(*found.distortion, float(moved)),
        )
        yield found


def _classes(model: Model, x: Tensor) -> Tensor:
    """The classes that a model sees in images of any size, int64 [N], on the CPU."""
    return classes_of(model, resized(x, model))


def _cell(seen: Tensor, by_source: Tensor, y: Tensor) -> Cell:
    fooled = seen != y
    both = fooled & (by_source != y)
    low, high = wilson(int(fooled.sum()), len(y))
    alike = seen == by_source
    return Cell(
        success=float(fooled.double().mean()),
        low=low,
        high=high,
        fooled=int(fooled.sum()),
        agreement=_share(alike[both]),
        same=_share(alike[by_source != y]),
    )


def _share(hits: Tensor) -> float | None:
    return float(hits.double().mean()) if len(hits) else None


def _named(models: Named, role: str) -> dict[str, Model]:
    """Models by name: their own, their key's, or their place.

    Raises:
        ModelError: for no models, or a key that does not exist.
    """
    if isinstance(models, Mapping):
        found = dict(models)
    else:
        found = {}
        for k, given in enumerate(models, 1):
            model = load_model(given) if isinstance(given, str) else given
            name = model.card.key if isinstance(model, Classifier) else f"{role} {k}"
            found[name if name not in found else f"{name} ({k})"] = model
    if not found:
        raise ModelError(f"at least one {role} model is needed")
    return found
