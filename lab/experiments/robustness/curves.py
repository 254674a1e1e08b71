"""Robustness curves: accuracy against the size of the perturbation, for models and attacks, image by image."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lab.attacks import attack
from lab.attacks.catalog import CATALOG, find_attack
from lab.attacks.norms import LENGTHS
from lab.attacks.run import check_restarts
from lab.attacks.spec import Spec
from lab.gate import check_batch, check_logits, check_whole
from lab.models.cards import resized
from lab.params import number
from lab.predict import logits_of
from lab.progress import SILENT, Cancelled, Progress
from lab.records import finite
from lab.statistics import wilson
from lab.types import Goal, Model, ParamError

ROOM = 1 + 1e-5
"""A perturbation counts as within epsilon up to this factor: rounding."""


@dataclass(frozen=True)
class Point:
    """Accuracy under attack at one epsilon, with its 95% interval (Wilson)."""

    eps: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What one attack did to one model, image by image.

    Attributes:
        model: the model's name.
        attack: the attack's key.
        norm: in which sizes are measured.
        right: whether the clean image is classed right [N].
        needed: the smallest epsilon of those tried at which the image was broken; of an attack that searches for the
            smallest perturbation, its distance; 0 where the clean image is wrong, infinite where the image stands [N].
        distance: the size of the perturbation that broke it [N]; the same otherwise.
        eps: sizes that were tried so far, rising.
        complete: whether all were tried.
    """

    model: str
    attack: str
    norm: str
    right: Tensor
    needed: Tensor
    distance: Tensor
    eps: tuple[float, ...]
    complete: bool = True

    def at(self, eps: float) -> Point:
        """The accuracy under perturbations of at most this size."""
        stands = self.right & (self.needed > eps * ROOM)
        n, hits = len(stands), int(stands.sum())
        return Point(eps, hits / n, *wilson(hits, n))

    @property
    def curve(self) -> tuple[Point, ...]:
        """The accuracy at every size that was tried."""
        return tuple(self.at(eps) for eps in self.eps)


def minimum(spec: Spec) -> bool:
    """Whether an attack searches for the smallest perturbation, which gives the whole curve at once."""
    return spec.keep == "closest" and not any(p.name == "eps" for p in spec.params)


def settings(key: str, norm: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of an attack that measures in this norm: those that it has, and the norm where it is one of them.

    Raises:
        ParamError: where the attack bounds another distance.
    """
    spec = find_attack(key)
    known = {p.name: p for p in spec.params}
    given = {name: value for name, value in params.items() if name in known and name != "eps"}
    if "norm" in known and norm in known["norm"].choices:
        given["norm"] = norm
    if not minimum(spec):
        if "eps" not in known:
            raise ParamError(f"{key} has no epsilon, so that there is no curve of it: choose another attack")
        if spec.measured_in(given) != norm and "norm" not in given:
            raise ParamError(f"{key} does not bound {norm}: choose another attack or norm")
    return given


def planned(
    attacks: Sequence[str], norm: str, params: Mapping[str, Any], restarts: object = 1
) -> dict[str, dict[str, Any]]:
    """What each attack is called with: its settings, and how often.

    Raises:
        ParamError: for no attack, one that does not bound this norm or cannot be restarted, or a parameter that no
            attack has.
    """
    plan = {key: settings(key, norm, params) for key in attacks}
    if not plan:
        raise ParamError("at least one attack is needed")
    for name in params:
        if name in ("eps", "norm"):
            raise ParamError(f"{name} is the same for all attacks: give it apart, not among their parameters")
        if not any(name == p.name for spec in CATALOG.values() for p in spec.params):
            raise ParamError(f"there is no attack that has a parameter '{name}'")
    for key, given in plan.items():
        find_attack(key).build(**given)
        given["restarts"] = check_restarts(find_attack(key), restarts)
    return plan


def evaluate(
    models: Mapping[str, Model],
    attacks: Sequence[str],
    x: Tensor,
    y: Tensor | int | Sequence[int],
    eps: Sequence[float | str],
    *,
    norm: str = "linf",
    seed: int = 0,
    restarts: int = 1,
    draws: int = 1,
    devices: Sequence[str] = (),
    progress: Progress = SILENT,
    **params: Any,
) -> Iterator[tuple[Outcome, ...]]:
    """Measures accuracy under attack, for every model and attack, at every epsilon; tells what it has after each.

    An image that was broken at one size counts as broken at all larger ones, and is not attacked again: a perturbation
    within a smaller size is within the larger one, too.

    Args:
        models: by name.
        attacks: keys of the catalogue.
        x: clean images [N,C,H,W] in [0,1]; a model of the lab gets them in its own size (bilinear, antialiased).
        y: their classes, int64 [N].
        eps: sizes of the perturbation, as numbers or as text such as "8/255"; 0 is the clean accuracy.
        norm: in which they are measured: "linf", "l2" or "l1".
        seed: of the attacks.
        restarts: how often an attack is run on an image that still stands, with one seed after another.
        draws: of a random model, over how many looks each answer is averaged (expectation over transformation).
        devices: the images are shared out among these, a thread and a copy of the model each; the numbers are the same.
        progress: hears of the model and the attack at work; where it stops the work, what there is comes a last time.
        **params: for every attack that has such a parameter.

    Raises:
        ParamError: for sizes below 0, an attack that does not bound this norm, or a parameter that no attack has.
        LabError: as `lab.attack`.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 8))
        >>> models = {"softmax": lab.load_model("mnist/softmax")}
        >>> *_, (outcome,) = lab.evaluate(models, ["fgsm"], digits.x, digits.y, ["0/255", 0.05, 0.1])
        >>> [(point.eps, point.accuracy) for point in outcome.curve]
        [(0.0, 1.0), (0.05, 0.75), (0.1, 0.25)]
    """
    x, y = check_batch(x, y)
    sizes = sorted({number(e) for e in eps})
    if not sizes or sizes[0] < 0 or not all(map(math.isfinite, sizes)):
        raise ParamError("eps needs one size or more, none below 0, for example 0,0.1,0.2")
    if norm not in LENGTHS or norm == "l0":
        raise ParamError(f"norm must be linf, l2 or l1, not {norm!r}")
    plan = planned(attacks, norm, params, restarts)
    looks = check_whole(draws, "draws")
    if not models:
        raise ParamError("at least one model is needed")
    done: list[Outcome] = []
    parts = len(models) * len(plan)
    for name, model in models.items():
        shards = _shards(model, x, y, devices)
        logits = torch.cat([logits_of(m, part) for m, part, _ in shards])
        check_logits(logits, len(x), Goal(y.cpu()))
        right = logits.argmax(1) == y.cpu()
        for key, given in plan.items():
            part = progress.part(len(done) / parts, (len(done) + 1) / parts, key, name)
            blank = torch.where(right, math.inf, 0.0)
            outcome = Outcome(name, key, norm, right, blank, blank.clone(), (), complete=False)
            steps = [sizes] if minimum(find_attack(key)) else [[size] for size in sizes]
            try:
                for k, step in enumerate(steps):
                    part.tell(k / len(steps))
                    stretch = part.part(k / len(steps), (k + 1) / len(steps))
                    outcome = _step(shards, key, outcome, step, seed, stretch, given | {"draws": looks})
                    yield (*done, outcome)
            except Cancelled:
                yield (*done, outcome)
                return
            outcome = replace(outcome, complete=True)
            done.append(outcome)
            yield tuple(done)


Shard = tuple[Model, Tensor, Tensor]
"""A model, and its share of images and labels, on one device."""


def _shards(model: Model, x: Tensor, y: Tensor, devices: Sequence[str]) -> list[Shard]:
    """The images in the model's size, shared out among devices, in order."""
    x = resized(x, model)
    if len(devices) < 2 or not isinstance(model, nn.Module):
        return [(model, x, y)]
    parts = zip(devices, x.chunk(len(devices)), y.chunk(len(devices)), strict=False)
    return [(copy.deepcopy(model).to(device), part.to(device), labels.to(device)) for device, part, labels in parts]


def _step(
    shards: Sequence[Shard],
    key: str,
    before: Outcome,
    sizes: Sequence[float],
    seed: int,
    progress: Progress,
    given: Mapping[str, Any],
) -> Outcome:
    """The outcome after the next size, or all of them.

    Raises:
        Cancelled: where it was stopped before its end.
    """
    starts = [0]
    for _, part, _ in shards:
        starts.append(starts[-1] + len(part))
    pieces = [(shard, slice(a, b)) for shard, a, b in zip(shards, starts, starts[1:], strict=False)]

    def work(piece: tuple[Shard, slice]) -> tuple[Tensor, Tensor]:
        shard, rows = piece
        return _broken(
            shard, key, before.needed[rows], before.distance[rows], before.norm, sizes, seed, progress, given
        )

    if len(pieces) == 1:
        broken = [work(pieces[0])]
    else:
        with ThreadPoolExecutor(len(pieces)) as pool:
            broken = list(pool.map(work, pieces))
    needed, distance = (torch.cat(parts) for parts in zip(*broken, strict=True))
    return replace(before, needed=needed, distance=distance, eps=(*before.eps, *sizes))


def _broken(
    shard: Shard,
    key: str,
    needed: Tensor,
    distance: Tensor,
    norm: str,
    sizes: Sequence[float],
    seed: int,
    progress: Progress,
    given: Mapping[str, Any],
) -> tuple[Tensor, Tensor]:
    """Sizes and distances once the images that still stand were attacked.

    Raises:
        Cancelled: where that was stopped.
    """
    model, x, y = shard
    standing = needed.isinf().nonzero().flatten()
    smallest = minimum(find_attack(key))
    if not len(standing) or not (smallest or sizes[0]):
        return needed, distance
    at: dict[str, Any] = {} if smallest else {"eps": sizes[0]}
    rows = standing.to(x.device)
    result = attack(
        key,
        model,
        x[rows],
        y[rows],
        seed=seed,
        drop_solved=not smallest,
        progress=Progress(stop=progress.stop),
        **at,
        **given,
    )
    if not result.complete:
        raise Cancelled
    size, success = result.distance[norm].cpu().float(), result.success.cpu()
    new = torch.where(success, size if smallest else torch.full_like(size, sizes[0]), math.inf)
    return needed.index_copy(0, standing, new), distance.index_copy(0, standing, torch.where(success, size, math.inf))


@dataclass(frozen=True)
class Robustness:
    """Robustness curves together with all that they depend on: what is kept, shown and taken away.

    Attributes:
        outcomes: of `evaluate`, as far as they came.
        ids: the images' names [N].
        dataset: key of the images' data set.
        seed: of the attacks.
        params: given to every attack that has them.
        restarts: how often an attack was run at most.
        draws: looks that each answer of a random model was averaged over.
        asked: how many outcomes there are when it is whole; 0 where that is not known.
    """

    outcomes: tuple[Outcome, ...]
    ids: tuple[str, ...]
    dataset: str
    seed: int
    params: tuple[tuple[str, Any], ...] = ()
    restarts: int = 1
    draws: int = 1
    asked: int = 0

    @property
    def complete(self) -> bool:
        """Whether every outcome was measured to its end."""
        return len(self.outcomes) >= self.asked and all(o.complete for o in self.outcomes)

    def shared_by(self, models: Sequence[str]) -> tuple[Outcome, ...]:
        """What may be compared: the outcomes of the attacks that every one of these models has undergone to its end."""
        done = {(o.model, o.attack) for o in self.outcomes if o.complete}
        return tuple(o for o in self.outcomes if all((model, o.attack) in done for model in models))

    def record(self) -> dict[str, Any]:
        """Curves and images as plain numbers; None stands for an image that was not broken."""
        return {
            "dataset": self.dataset,
            "norm": self.outcomes[0].norm if self.outcomes else None,
            "seed": self.seed,
            "params": dict(self.params),
            "restarts": self.restarts,
            "draws": self.draws,
            "complete": self.complete,
            "images": list(self.ids),
            "outcomes": [
                {
                    "model": o.model,
                    "attack": o.attack,
                    "complete": o.complete,
                    "curve": [asdict(point) for point in o.curve],
                    "right": o.right.tolist(),
                    "needed": finite(o.needed.tolist()),
                    "distance": finite(o.distance.tolist()),
                }
                for o in self.outcomes
            ],
        }

    def rows(self) -> list[dict[str, Any]]:
        """The points of the curves."""
        return [
            {"model": o.model, "attack": o.attack, "norm": o.norm, **asdict(p), "images": len(o.right)}
            for o in self.outcomes
            for p in o.curve
        ]

    def image_rows(self) -> list[dict[str, Any]]:
        """What broke which image, at what distance."""
        return [
            {
                "model": o.model,
                "attack": o.attack,
                "image": name,
                "right": bool(right),
                "needed": float(needed),
                "distance": float(distance),
            }
            for o in self.outcomes
            for name, right, needed, distance in zip(self.ids, o.right, o.needed, o.distance, strict=True)
        ]
