"""What makes an attack carry over: success on other models while one of its parameters varies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.experiments.transfer.matrix import Transfer, transfer
from lab.progress import SILENT, Progress
from lab.statistics import wilson
from lab.types import Model


@dataclass(frozen=True)
class Point:
    """How the images do at one value of the parameter.

    Attributes:
        at: the value.
        source: share of the images that fool the model they were made on.
        targets: the share that fools a model they were not made on, averaged over those models.
        low: lower end of its 95% interval, all targets' images taken together.
        high: upper end.
    """

    at: float
    source: float
    targets: float
    low: float
    high: float


def sweep(
    source: str,
    models: Mapping[str, Model],
    x: Tensor,
    y: Tensor,
    attack: str,
    name: str,
    values: Sequence[float],
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    **params: Any,
) -> Iterator[tuple[Point, ...]]:
    """Attacks images on one model at each value of a parameter, and shows them to the others; yields after each.

    Args:
        source: name of the model to make the images on.
        models: by name, the source and at least one other among them.
        x: clean images [N,C,H,W] in [0,1]; those that all models class right count.
        y: their classes, int64 [N].
        attack: key of the attack.
        name: of the parameter that varies.
        values: that it takes.
        seed: of the attack's random numbers.
        progress: hears of the value at work.
        **params: the attack's other parameters.

    Raises:
        LabError: as `transfer`.
        Cancelled: where the work is to stop.
    """
    points: tuple[Point, ...] = ()
    for k, value in enumerate(values):
        part = progress.part(k / len(values), (k + 1) / len(values), attack, f"{name} {value:.3g}")
        one = transfer(
            {source: models[source]}, models, x, y, attack, seed=seed, progress=part, **{**params, name: value}
        )
        part.check()
        points = (*points, _point(value, source, one))
        yield points


def _point(at: float, source: str, of: Transfer) -> Point:
    own = of.cells[0][of.targets.index(source)]
    others = [cell for target, cell in zip(of.targets, of.cells[0], strict=True) if target != source]
    fooled, n = sum(cell.fooled for cell in others), of.n * len(others)
    return Point(at, own.success, fooled / n, *wilson(fooled, n))
