"""CLEVER: an estimate of how far the nearest adversarial image is at least, from the gradients around an image."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy import optimize, stats
from torch import Tensor

from lab import devices
from lab.attacks.norms import NORMS
from lab.experiments.clever.curvature import curvatures, refuse_kinks
from lab.folding import fold, unfold
from lab.gate import Look, Usable, check_images, check_labels, look, usable
from lab.predict import logits_of
from lab.progress import SILENT, Cancelled, Progress
from lab.types import GoalError, LabWarning, Model, ModelError, ParamError

SHAPES = (1.0, 5.0, 10.0, 0.1, 20.0, 50.0, 100.0)
"""Shapes from which the fit starts, in turn."""
DOUBT = 1e-3
"""A p-value below which the fitted endpoint is not believed, and the largest gradient seen is taken instead."""
CONVINCED = 0.5
"""A p-value above which no further start is tried."""
PENALTY = 1.0
"""Weight of the squared scale in the fit, where the maxima span one unit. On a digit and `mnist/cnn`, endpoints from 50
batches were 1.8% (median) above the largest of 400 batches and scattered by 4.5%; with the authors' 0.01, 17% and 20%:
`lab reproduce clever-endpoints`."""
CONSTANT = 1e-5
"""Relative spread below which all maxima count as equal: the function is linear there."""
ROWS = 512
"""Points that are worked on together, at most; more are not faster."""
PAPER = {"batches": 500, "samples": 1024}
"""The paper's budget."""
QUICK = {"batches": 60, "samples": 128}
"""A budget for looking around."""


@dataclass(frozen=True)
class Sampling:
    """How the ball around an image is sampled.

    Attributes:
        norm: of the distance: "l1", "l2" or "linf".
        batches: how many maxima the distribution is fitted to.
        samples: points of each batch.
        radius: of the ball, in the norm; no score is larger.
        seed: of the points.
        order: 1 for the largest gradient around the image; 2 for the gradient at the image and the largest curvature
            around it.

    Raises:
        ParamError: for a number, radius or order that makes no sense.
    """

    norm: str = "l2"
    batches: int = PAPER["batches"]
    samples: int = PAPER["samples"]
    radius: float = 5.0
    seed: int = 0
    order: int = 1

    def __post_init__(self) -> None:
        """Refuses what makes no sense."""
        if isinstance(self.order, bool) or self.order not in (1, 2):
            raise ParamError(f"order must be 1 or 2, not {self.order!r}")
        if self.order == 2 and self.norm != "l2":
            raise ParamError(f"the second order is for the L2 norm only, not {self.norm}: curvature is measured in it")
        for what, value in (("batches", self.batches), ("samples", self.samples)):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ParamError(f"{what} must be a whole number, at least 1, not {value!r}")
        if isinstance(self.radius, bool) or not isinstance(self.radius, (int, float)) or not 0 < self.radius < math.inf:
            raise ParamError(f"radius must be a positive number, not {self.radius!r}")

    @property
    def number(self) -> str:
        """The norm as the public interface counts it: 1, 2 or inf."""
        return self.norm.removeprefix("l")


@dataclass(frozen=True)
class Clever:
    """CLEVER scores of images, and what they come from; targets are in columns.

    A score estimates a lower bound of the distance to the nearest adversarial image. It is not a certificate: it rests
    on the gradients that were sampled, and on a distribution fitted to them.

    Attributes:
        scores: untargeted, the smallest over the targets [N].
        seen: the class that the model sees in each image, int64 [N].
        targets: int64 [N,T].
        by_target: the score for each target [N,T].
        margin: logit of the image's class minus the target's [N,T].
        location: the estimated local Lipschitz constant of the margin, the endpoint of the distribution [N,T]; of the
            second order, the largest curvature.
        shape: of the fitted reverse Weibull distribution [N,T]; NaN where none was fitted.
        scale: of the same [N,T].
        p_value: of the Kolmogorov-Smirnov test of the fit [N,T].
        maxima: the largest gradient norm of each batch [N,T,batches]; of the second order, the largest curvature.
        slope: the norm of the margin's gradient at the image itself [N,T].
        sampling: how the ball was sampled.
        complete: False where it was stopped: then there are fewer images, or fewer batches of the only one.
    """

    scores: Tensor
    seen: Tensor
    targets: Tensor
    by_target: Tensor
    margin: Tensor
    location: Tensor
    shape: Tensor
    scale: Tensor
    p_value: Tensor
    maxima: Tensor
    slope: Tensor
    sampling: Sampling
    complete: bool = True

    def after(self, image: int, target: int, batches: int) -> float:
        """The score that the first so many batches alone would have given for one image and target (its column)."""
        fit = endpoint(self.maxima[image, target, :batches].double().cpu().numpy())
        margin, slope = self.margin[image, target].cpu(), self.slope[image, target].cpu()
        return float(_distance(margin, slope, torch.tensor(fit.location), self.sampling))

    def on(self, device: torch.device) -> Clever:
        """The same, with every tensor on a device."""
        tensors: dict[str, Any] = {
            f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


def _distance(margin: Tensor, slope: Tensor, location: Tensor, sampling: Sampling) -> Tensor:
    """How far away the margin can be used up, when its gradient or curvature is at most `location`."""
    steepest = location if sampling.order == 1 else (slope + (slope.square() + 2 * margin * location).sqrt()) / 2
    return torch.where(steepest > 0, margin / steepest, math.inf).clamp(max=sampling.radius)


@dataclass(frozen=True)
class Endpoint:
    """A reverse Weibull distribution fitted to maxima: its endpoint, its shape and scale, and how well it fits."""

    location: float
    shape: float
    scale: float
    p_value: float


def clever(
    model: Model,
    x: Tensor,
    *,
    norm: float = 2,
    targets: Tensor | None = None,
    batches: int = PAPER["batches"],
    samples: int = PAPER["samples"],
    radius: float = 5.0,
    seed: int = 0,
    order: int = 1,
    progress: Progress = SILENT,
) -> Clever:
    """Estimates for each image how far it has to be moved at least before the model sees another class.

    Points are drawn from the ball around the image, batch by batch; the largest gradient norm of each batch follows a
    reverse Weibull distribution, whose endpoint is the local Lipschitz constant of the margin; margin over constant is
    the score. All targets' gradients come from one forward per portion of a batch; no more than a portion is held. They
    are taken on a faster equal of the network where there is one (`lab.folding`).

    Args:
        model: images [N,C,H,W] in [0,1] -> logits.
        x: images [N,C,H,W] in [0,1].
        norm: of the distance, 1, 2 or infinity.
        targets: classes [N] or [N,T] to be scored; None for all but the one that the model sees.
        batches: how many maxima the distribution is fitted to.
        samples: points of each batch.
        radius: of the ball, in the norm.
        seed: of the points; each image is scored as if it were alone.
        order: 1 for the largest gradient around the image; 2 for the gradient at the image and the largest curvature
            around it, for the L2 norm and models that are twice differentiable.
        progress: hears of every portion; where it stops the work, the scores of the images done so far are what is
            returned, of a first image from the batches that there are.

    Source: Weng et al. 2018, algorithms 1 and 2; second order: Weng et al. 2018, "On extensions of CLEVER".
    Deviation: points are clipped to [0,1], where images are. The fit tries several starts, and is replaced by the
        largest maximum where it is not to be believed; a large scale is penalised, without which the endpoint of some
        fits lies at infinity; all as in the authors' code, but with a penalty that makes the endpoint repeatable.

    Raises:
        ImageError, ModelError: for what cannot be asked.
        GoalError: for targets that do not exist, or are the class that the model sees.
        ParamError: for a norm, number, radius or order that makes no sense.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 2))
        >>> scores = lab.clever(lab.load_model("mnist/softmax"), digits.x, batches=20, samples=50).scores
        >>> [f"{score:.2f}" for score in scores]
        ['1.48', '0.69']
    """
    if isinstance(norm, bool) or norm not in (1, 2, math.inf):
        raise ParamError(f"norm must be 1, 2 or infinity, not {norm!r}")
    sampling = Sampling(f"l{float(norm):g}", batches, samples, radius, seed, order)
    return score(model, x, sampling, targets, progress)


@torch.inference_mode(False)
def score(
    model: Model, x: Tensor, sampling: Sampling, targets: Tensor | None = None, progress: Progress = SILENT
) -> Clever:
    """The scores that `clever` answers, for a sampling that has been put together."""
    x = check_images(x)
    return _score(model, x, sampling, targets, progress).on(x.device)


def _score(model: Model, x: Tensor, sampling: Sampling, targets: Tensor | None, progress: Progress) -> Clever:
    asking = usable(model, x)
    x = x.to(devices.of(asking, x), asking.computed)
    if not len(x):
        none = torch.zeros(0, dtype=torch.int64)
        return _fitted(none, _targets(targets, none, 2), torch.zeros(0, 1), [], [], sampling)
    first = look(asking, x, True)
    _check_slopes(asking, first, sampling)
    if sampling.order == 2:
        refuse_kinks(asking, x)
    logits = torch.cat([logits_of(asking, one[None]) for one in x]).to(x)
    seen = logits.argmax(1)
    columns = _targets(targets, seen, logits.shape[1])
    margin = logits.gather(1, seen[:, None]) - logits.gather(1, columns)
    fast = fold(asking, x, seen=first)
    maxima: list[Tensor] = []
    slopes: list[Tensor] = []
    for i, image in enumerate(x):
        if not fast.agrees(image[None], True):
            fast = unfold(asking)
        steepness = partial(_slopes, fast.model, seen=int(seen[i]), targets=columns[i], norm=sampling.norm)
        curvature = partial(curvatures, asking, seen=int(seen[i]), targets=columns[i])
        new = _maxima(
            steepness if sampling.order == 1 else curvature,
            partial(_points, image[None], sampling, torch.Generator().manual_seed(sampling.seed)),
            _portion(asking, image[None], sampling.samples),
            sampling,
            progress.part(i / len(x), (i + 1) / len(x)),
        )
        whole = new.shape[1] == sampling.batches
        if whole or (new.shape[1] and not i):
            maxima.append(new)
            slopes.append(steepness(image[None])[:, 0].cpu())
        if not whole:
            break
    return _fitted(seen.cpu(), columns.cpu(), margin.double().cpu(), maxima, slopes, sampling)


def _fitted(
    seen: Tensor, columns: Tensor, margin: Tensor, maxima: list[Tensor], slopes: list[Tensor], sampling: Sampling
) -> Clever:
    """The scores of the images whose maxima there are."""
    done, targets = len(maxima), columns.shape[1]
    kept = torch.stack(maxima) if maxima else torch.zeros(0, targets, sampling.batches)
    fits = [[endpoint(row.numpy()) for row in image] for image in kept.double()]
    location, shape, scale, p_value = (
        torch.tensor([[getattr(fit, field) for fit in row] for row in fits]).view(done, targets)
        for field in ("location", "shape", "scale", "p_value")
    )
    margin = margin[:done]
    slope = torch.stack(slopes).double() if slopes else torch.zeros_like(margin)
    by_target = _distance(margin, slope, location, sampling)
    return Clever(
        scores=by_target.amin(1) if done else torch.zeros(0, dtype=torch.float64),
        seen=seen[:done],
        targets=columns[:done],
        by_target=by_target,
        margin=margin,
        location=location,
        shape=shape,
        scale=scale,
        p_value=p_value,
        maxima=kept,
        slope=slope,
        sampling=sampling,
        complete=done == len(seen) and kept.shape[2] == sampling.batches,
    )


def _check_slopes(model: Usable, first: Look, sampling: Sampling) -> None:
    """Makes sure that gradients tell how the model changes.

    Raises:
        ModelError: where the logits change with the image and no gradient says so, or where they change by themselves.
    """
    if first.random:
        raise ModelError(
            "the model answers differently at a second look, so that its gradients do not tell how it changes with the "
            "image: score the mean of many looks"
        )
    if first.leads:
        return
    around = _points(first.x[-1:], sampling, torch.Generator().manual_seed(sampling.seed), 8)
    if not torch.equal(logits_of(model, around), logits_of(model, first.x[-1:].expand_as(around))):
        raise ModelError(
            "the model's logits change with the image, but no gradient leads there, so that the score would be the "
            "radius: leave out what detaches the image, or use a smooth transformation"
        )


def _targets(targets: Tensor | None, seen: Tensor, classes: int) -> Tensor:
    """Classes to score, int64 [N,T]."""
    if targets is None:
        every = torch.arange(classes, device=seen.device).expand(len(seen), classes)
        return every[every != seen[:, None]].view(len(seen), classes - 1)
    if not isinstance(targets, Tensor) or targets.dim() not in (1, 2) or len(targets) != len(seen):
        raise GoalError(f"targets must be classes [{len(seen)}] or [{len(seen)}, T]")
    table = targets if targets.dim() == 2 else targets[:, None]
    flat = check_labels(table.reshape(-1), seen.repeat_interleave(table.shape[1]), "target").view(table.shape)
    if flat.numel() and int(flat.max()) >= classes:
        raise GoalError(f"target {int(flat.max())} does not exist: the model has {classes} classes")
    same = (flat == seen[:, None]).nonzero()
    if len(same):
        raise GoalError(f"a target of image {int(same[0, 0])} is the class that the model sees: choose another")
    return flat


def _portion(model: Usable, x: Tensor, samples: int) -> int:
    """How many points are worked on together."""
    return max(1, min(samples, ROWS, devices.rows_that_fit(model.model, x, model)))


def _points(x: Tensor, sampling: Sampling, rng: torch.Generator, rows: int) -> Tensor:
    """So many points [rows,C,H,W] of the ball around an image [1,C,H,W]."""
    return (x + sampling.radius * NORMS[sampling.norm].sample(rng, x, rows)).clamp_(0, 1)


def _maxima(
    measure: Callable[[Tensor], Tensor],
    points: Callable[[int], Tensor],
    portion: int,
    sampling: Sampling,
    progress: Progress,
) -> Tensor:
    """The largest measure [T] of each batch of points, [T,batches]; of fewer batches where it was stopped.

    Args:
        measure: of points [rows,C,H,W], for each target [T,rows].
        points: draws so many of them.
        portion: how many are worked on together.
        sampling: how many there are.
        progress: hears of every portion.
    """
    batches, samples = sampling.batches, sampling.samples
    maxima: list[Tensor] = []
    for b in range(batches):
        parts = []
        for start in range(0, samples, portion):
            parts.append(measure(points(min(portion, samples - start))).amax(1))
            try:
                progress.tell((b + (start + portion) / samples) / batches, f"batch {b + 1:,} of {batches:,}")
            except Cancelled:
                return torch.stack(maxima, 1) if maxima else parts[0][:, None][:, :0].cpu()
        maxima.append(torch.stack(parts).amax(0).cpu())
    return torch.stack(maxima, 1)


def _slopes(model: Model, points: Tensor, seen: int, targets: Tensor, norm: str) -> Tensor:
    """The dual norm of the gradient of each target's margin at each point [T,rows], from one forward."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(points)
    if not logits.requires_grad:
        return torch.zeros(len(targets), len(points), device=points.device)
    margins = (logits[:, [seen]] - logits[:, targets]).sum(0)
    if points.is_cuda:
        every = torch.eye(len(targets), dtype=margins.dtype, device=margins.device)
        (slopes,) = torch.autograd.grad(margins, points, every, is_grads_batched=True)
        return _told(NORMS[norm].dual(slopes.flatten(0, 1)).view(len(targets), len(points)))
    # on the CPU one after the other is faster, by a third for the bundled convolutional net
    turns = (torch.autograd.grad(m, points, retain_graph=True, allow_unused=True)[0] for m in margins)
    none = torch.zeros_like(points)
    return _told(torch.stack([NORMS[norm].dual(none if slope is None else slope) for slope in turns]))


def _told(sizes: Tensor) -> Tensor:
    """Sizes of gradients; infinite where one is no number, for then it bounds nothing."""
    if sizes.isfinite().all():
        return sizes
    warnings.warn("the model's gradient is infinite or NaN near an image: its score is 0", LabWarning, stacklevel=2)
    return sizes.nan_to_num(nan=math.inf, posinf=math.inf)


def endpoint(maxima: np.ndarray, penalty: float = PENALTY) -> Endpoint:
    """Fits a reverse Weibull distribution to maxima by maximum likelihood.

    Args:
        maxima: the largest value of each batch [batches].
        penalty: weight of the squared scale, where the maxima span one unit.
    """
    top = float(maxima.max())
    if math.isinf(top):  # a slope without end leaves nothing to be fitted
        return Endpoint(top, math.nan, 0.0, 1.0)
    spread = float(np.ptp(maxima))
    if len(maxima) < 3 or spread <= CONSTANT * abs(top) or not spread:
        return Endpoint(top, math.nan, 0.0, 1.0)
    z = (maxima - top) / spread  # the fit is well behaved where the numbers span one unit, the largest at 0
    best = Endpoint(top, math.nan, spread, 0.0)
    for shape in SHAPES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of steps outside the support
            try:
                c, location, scale = stats.weibull_max.fit(
                    z, shape, loc=0.1, scale=1.0, optimizer=partial(_penalised, penalty)
                )
            except (stats.FitError, ValueError):
                continue
            p = float(stats.kstest(z, "weibull_max", (c, location, scale)).pvalue)
        if location >= 0 and p > best.p_value:
            best = Endpoint(top + location * spread, float(c), float(scale * spread), p)
        if best.p_value > CONVINCED:
            break
    return best if best.p_value >= DOUBT else Endpoint(top, best.shape, best.scale, best.p_value)


def _penalised(
    penalty: float, likelihood: Callable[..., float], start: Sequence[float], args: tuple[Any, ...], disp: bool = False
) -> np.ndarray:
    """Minimises the negative log-likelihood of (shape, location, scale), plus a little for a large scale."""
    return np.asarray(
        optimize.fmin(
            lambda theta: likelihood(theta, *args) + penalty * theta[2] ** 2,
            start,
            maxiter=1000,
            maxfun=1000,
            disp=disp,
        )
    )
