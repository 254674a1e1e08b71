"""An attack by its key: the one call that pages, commands and programs make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast, overload

import torch
from torch import Tensor

from lab.attacks.catalog import find_attack
from lab.attacks.driver import joined, run
from lab.attacks.spec import Spec
from lab.gate import check_images, check_seed, check_whole, make_goal
from lab.params import number
from lab.progress import SILENT, Progress
from lab.types import Goal, ImageError, Model, ParamError, Result


@overload
def attack(
    key: str,
    model: Model,
    x: Tensor,
    y: Tensor | int | Sequence[int],
    *,
    epsilons: Sequence[float | str],
    **options: Any,
) -> tuple[Result, ...]: ...


@overload
def attack(key: str, model: Model, x: Tensor, y: Tensor | int | Sequence[int], **options: Any) -> Result: ...


@torch.inference_mode(False)
def attack(
    key: str,
    model: Model,
    x: Tensor,
    y: Tensor | int | Sequence[int],
    *,
    epsilons: Sequence[float | str] | None = None,
    target: Tensor | int | None = None,
    seed: int = 0,
    trace: bool | int = False,
    drop_solved: bool = False,
    restarts: int = 1,
    draws: int = 1,
    start: Tensor | None = None,
    progress: Progress = SILENT,
    **params: Any,
) -> Result | tuple[Result, ...]:
    """Attacks images with a method of the catalogue.

    Args:
        key: the attack, e.g. "fgsm", "bim", "pgd", "mi_fgsm".
        model: images [N,C,H,W] in [0,1] -> logits [N,K]; any callable, a model of the lab or your own `nn.Module`. It
            is never changed; one in training mode is attacked as a copy in eval mode.
        x: clean images [N,C,H,W], floating point in [0,1].
        y: their classes, int64 [N], or one number for all.
        epsilons: several sizes, in place of `eps`: one result for each, in order. An attack that looks for the smallest
            perturbation runs once, and succeeds at the sizes that are no smaller than what it found.
        target: the classes to reach, [N] or one number; None to leave `y` for any other class.
        seed: the same seed gives the same result, for each image whatever the batch around it.
        trace: keep every iterate as a `Frame` in the result; a number keeps the pictures of at most that many of them,
            evenly spread, first and last among them.
        drop_solved: stop working on an image as soon as it is fooled, as some attacks always do: all that is needed to
            measure accuracy under attack, in a fraction of the time.
        restarts: how often the attack is run, with this seed and those after it. A later run works on the images that
            still stand; where the smallest perturbation is looked for, on all, and the closest counts.
        draws: of a random model, over how many looks each answer is averaged (expectation over transformation).
        start: where the search begins for each image [N,C,H,W] in [0,1], brought within eps of it; for the gradient
            family, APGD, Square, SPSA, NES, and those that look for the smallest perturbation, but for DeepFool, which
            is done where it is fooled. HopSkipJump needs one that fools the model.
        progress: hears of every iterate; where the work is to stop, the attack ends with what it has.
        **params: the attack's parameters; numbers may be text such as "8/255". `eps` may be one for each image [N].

    Returns:
        The adversarial images and what was measured of them, on the device of `x`; one result for each of `epsilons`.

    Source: draws: Athalye et al. 2018, "Synthesizing robust adversarial examples".

    Raises:
        ParamError: for an unknown attack or parameter, a value out of range, or what the attack cannot do.
        ImageError, GoalError, ModelError: for images, labels or a model that cannot be used.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 4))
        >>> result = lab.attack("pgd", lab.load_model("mnist/softmax"), digits.x, digits.y, eps="16/255", steps=10)
        >>> result.success.tolist(), f"{255 * result.distance['linf'].max():.0f}/255"
        ([False, True, False, False], '16/255')
    """
    spec, x = find_attack(key), check_images(x)
    options: dict[str, Any] = {
        "seed": check_seed(seed),
        "trace": trace,
        "drop_solved": drop_solved,
        "start": None if start is None else _start(start, x, spec),
        "draws": check_whole(draws, "draws"),
        "progress": progress,
    }
    goal = make_goal(x, y, target)
    runs = check_restarts(spec, restarts, trace)
    if epsilons is None:
        return _sized(spec, model, x, goal, runs, options, params)
    if "eps" in params or isinstance(epsilons, str) or not len(epsilons):
        raise ParamError("epsilons needs one size or more in place of eps, for example epsilons=[0.1, 0.2, 0.3]")
    sizes = [number(size) for size in epsilons]
    if spec.keep == "closest":
        result = _sized(spec, model, x, goal, runs, options, params)
        length = result.distance[spec.measured_in({p.name: p.default for p in spec.params} | params)]
        return tuple(replace(result, success=result.success & (length <= size)) for size in sizes)
    if "eps" not in {p.name for p in spec.params}:
        raise ParamError(f"{spec.key} is not bounded by a size: leave out epsilons")
    parts = [progress.part(k / len(sizes), (k + 1) / len(sizes)) for k in range(len(sizes))]
    return tuple(
        _sized(spec, model, x, goal, runs, {**options, "progress": part}, {**params, "eps": size})
        for size, part in zip(sizes, parts, strict=True)
    )


def check_restarts(spec: Spec, restarts: object, trace: bool | int = False) -> int:
    """How often an attack is to be run.

    Raises:
        ParamError: for what is no whole number from 1, or where it can be run but once.
    """
    runs = check_whole(restarts, "restarts")
    if runs > 1 and (trace or spec.joint):
        why = "a trace shows one run" if trace else "it makes one perturbation for all images"
        raise ParamError(f"{spec.key} cannot be restarted here, for {why}: call it with one seed after another")
    return runs


def _sized(
    spec: Spec, model: Model, x: Tensor, goal: Goal, runs: int, options: dict[str, Any], params: dict[str, Any]
) -> Result:
    """The result where `eps` may be one for each image: those of one size are attacked together."""
    eps = params.get("eps")
    if isinstance(eps, Tensor) and eps.dim() == 0:
        params = {**params, "eps": float(eps)}
    if not isinstance(eps, Sequence | Tensor) or isinstance(eps, str) or (isinstance(eps, Tensor) and eps.dim() == 0):
        return _restarted(spec, model, x, goal, runs, options, params)
    sizes = [number(size) for size in (eps.tolist() if isinstance(eps, Tensor) else eps)]
    if len(sizes) != len(x):
        raise ParamError(f"eps must be one size, or {len(x)}, one an image, not {len(sizes)}")
    if spec.joint:
        raise ParamError(f"{spec.key} makes one perturbation for all images: give one eps")
    groups = {size: [k for k, other in enumerate(sizes) if other == size] for size in sizes}
    done, results = 0, []
    for size, rows in groups.items():
        index = torch.tensor(rows, device=x.device)
        own = {**options, "progress": options["progress"].part(done / len(x), (done + len(rows)) / len(x))}
        if options["start"] is not None:
            own["start"] = options["start"][index]
        found = _restarted(spec, model, x[index], goal.rows(index), runs, own, {**params, "eps": size})
        results.append(found)
        done += len(rows)
    if not results:
        return _restarted(spec, model, x, goal, runs, options, {k: v for k, v in params.items() if k != "eps"})
    places = torch.tensor([k for rows in groups.values() for k in rows], device=x.device)
    return joined(results, x.device).rows(places.argsort())


def _restarted(
    spec: Spec, model: Model, x: Tensor, goal: Goal, runs: int, options: dict[str, Any], params: dict[str, Any]
) -> Result:
    """The best of several runs, image by image."""
    method, seed, progress = spec.build(**params), options["seed"], cast("Progress", options["progress"])
    parts = [progress.part(k / runs, (k + 1) / runs) for k in range(runs)]
    best = run(spec, method, model, x, goal, **{**options, "progress": parts[0]})
    for k in range(1, runs):
        closest = spec.keep == "closest"
        rows = torch.arange(len(x), device=x.device) if closest else (~best.success).nonzero().flatten()
        if not best.complete or not len(rows):
            break
        start = None if options["start"] is None else options["start"][rows]
        own = {**options, "seed": (seed + k) % 2**64, "progress": parts[k], "start": start}
        new = run(spec, method, model, x[rows], goal.rows(rows), **own)
        norm = str(getattr(method, "norm", spec.norm))
        better = new.success & (~best.success[rows] | (new.distance[norm] < best.distance[norm][rows]))
        best = _with(best, new, rows, better)
    return best


def _with(best: Result, new: Result, rows: Tensor, better: Tensor) -> Result:
    """A result with another's in place of its own for some images; what both have cost is added up.

    Args:
        best: of all images.
        new: of these rows of them.
        rows: int64 [n].
        better: which of these take the place [n].
    """
    where = torch.arange(len(best.x), device=rows.device)
    where[rows[better]] = len(best.x) + better.nonzero().flatten()
    taken = joined([best, new], best.x.device).rows(where)
    spent = {name: getattr(best, name).clone() for name in ("queries", "backwards")}
    for name, passes in spent.items():
        passes[rows.to(passes.device)] += getattr(new, name).to(passes.device)
    return replace(taken, queries=spent["queries"], backwards=spent["backwards"])


def _start(start: object, x: Tensor, spec: Spec) -> Tensor:
    """Starting points that fit the images.

    Raises:
        ImageError: for what are no images like these.
        ParamError: where the attack begins where it must.
    """
    if not hasattr(spec.build(), "start"):
        raise ParamError(f"{spec.key} begins where its method says: leave out start")
    points = check_images(start)
    if points.shape != x.shape:
        raise ImageError(f"starting points must have the images' shape {list(x.shape)}, not {list(points.shape)}")
    return points.to(x.device, x.dtype)
