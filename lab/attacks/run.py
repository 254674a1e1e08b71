"""The driver: runs any attack and owns what every attack needs.

Validation, seeding, access control, query counting, chunking to memory, cancellation, early stop, tracing, and the
measures of each iterate live here and nowhere else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Integral

import torch
from torch import Tensor

from lab import devices
from lab.attacks.norms import LENGTHS, NORMS, Distances, distances, per_row
from lab.attacks.spec import Keep
from lab.folding import fold
from lab.types import (
    REFUSALS,
    Access,
    Attack,
    Frame,
    Goal,
    GoalError,
    ImageError,
    Iterate,
    LabWarning,
    Model,
    ModelError,
    ParamError,
    Result,
)

NEARER = 1 - 1e-6
"""The share of a distance that another has to be below in order to be closer: rounding must not decide."""
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""The dtypes that labels may have."""
SLACK = 10.0
"""How many times the difference measured between a model and its faster equal an attack has to clear."""

Watch = Callable[[int, float], None]
"""Called after each iterate with the number of updates done and the share of the images that lie in finished chunks."""


@dataclass
class Watched:
    """The model as the attack sees it: limited to its access, counted, and checked at its first answer.

    `goal` is that of all images, so that a label which does not exist is told before anything is attacked.
    """

    model: Model
    access: Access
    goal: Goal
    forwards: int = 0
    backwards: int = 0
    checked: bool = False
    warns: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [N,K], or labels [N] where the attack may see no more."""
        self.forwards += len(x)
        if self.access is not Access.GRADIENTS:
            with torch.no_grad():
                logits = self.answer(x)
            return logits.argmax(1) if self.access is Access.LABELS else logits
        logits = self.answer(x)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def answer(self, x: Tensor) -> Tensor:
        """Logits [N,K], checked the first time, not counted."""
        if self.checked:
            return self.model(x)
        try:
            logits = self.model(x)
        except torch.OutOfMemoryError:
            raise
        except REFUSALS as e:
            reason = str(e).splitlines()[0] if str(e) else type(e).__name__
            raise ModelError(f"the model cannot take images of shape {list(x.shape[1:])}: {reason}") from e
        check_logits(logits, len(x), self.goal)
        if self.warns:
            warn_of_probabilities(logits)
        self.checked = True
        return logits

    def _count_backward(self, g: Tensor) -> None:
        self.backwards += len(g)


def check_logits(logits: object, rows: int, goal: Goal) -> None:
    """Raises ModelError or GoalError unless these are logits [rows,K] that the goal can be asked of."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != rows:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"the model must answer one row of logits per image, [{rows}, classes], but answered {got}")
    classes = logits.shape[1]
    if classes < 2:
        raise ModelError(
            "the model has one class only, so there is nothing to confuse it with: use one with two or more"
        )
    if not logits.isfinite().all():
        raise ModelError("the model answers NaN or infinity for these images: check its weights and its input range")
    highest = int(goal.labels.max())
    if highest >= classes:
        what = "target" if goal.targeted else "label"
        raise GoalError(f"{what} {highest} does not exist: the model has {classes} classes, 0 to {classes - 1}")


def warn_of_probabilities(logits: Tensor) -> None:
    """Warns where a model's answers [N,K] look like probabilities."""
    with torch.no_grad():
        if (logits >= 0).all() and (logits.sum(1) - 1).abs().max() < 1e-4:
            message = "the model seems to answer probabilities; attacks expect logits, so leave out the softmax"
            warnings.warn(message, LabWarning, stacklevel=2)


def check_images(x: object) -> Tensor:
    """The images, detached, if they are a batch that can be attacked.

    Raises:
        ImageError: unless x is a floating-point tensor [N,C,H,W], finite and within [0,1].
    """
    if not isinstance(x, Tensor):
        raise ImageError(f"images must be a tensor [N,C,H,W], not {type(x).__name__}")
    if x.dim() != 4:
        raise ImageError(f"images must have the shape [N,C,H,W], not {list(x.shape)}")
    if not x.is_floating_point():
        raise ImageError(f"images must be floating point in [0,1], not {x.dtype}: divide bytes by 255")
    if x.numel() == 0 and len(x):
        raise ImageError(f"images of shape {list(x.shape[1:])} have no pixels")
    if x.numel():
        if not x.isfinite().all():
            raise ImageError("images contain NaN or infinity")
        low, high = x.min().item(), x.max().item()
        if low < 0 or high > 1:
            raise ImageError(f"pixels must lie in [0,1], but these span [{low:g}, {high:g}]")
    return x.detach()


def check_labels(labels: object, x: Tensor, what: str) -> Tensor:
    """The labels as int64 [N] on x's device; one number stands for all images.

    Raises:
        GoalError: unless there is one whole, non-negative number per image.
    """
    try:
        if isinstance(labels, Integral) and not isinstance(labels, bool):
            labels = torch.full((len(x),), int(labels))
        if isinstance(labels, Sequence) and not isinstance(labels, str):
            labels = torch.as_tensor(labels) if len(labels) else torch.zeros(0, dtype=torch.int64)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        raise GoalError(f"{what}s must be whole numbers, one per image, not {type(labels).__name__}") from None
    if not isinstance(labels, Tensor) or labels.dtype not in WHOLE:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise GoalError(f"{what}s must be whole numbers, one per image, not {got}")
    if labels.shape != (len(x),):
        raise GoalError(f"{what}s must have the shape [{len(x)}], one per image, not {list(labels.shape)}")
    if len(labels) and int(labels.min()) < 0:
        raise GoalError(f"{what} {int(labels.min())} does not exist: classes are numbered from 0")
    return labels.to(device=x.device, dtype=torch.int64)


def make_goal(x: Tensor, y: object, target: object = None) -> Goal:
    """The goal for images x [N,C,H,W]: to leave the classes y, or to reach the target classes.

    Raises:
        GoalError: for labels that do not fit, or a target that is the label already.
    """
    labels = check_labels(y, x, "label")
    if target is None:
        return Goal(labels)
    targets = check_labels(target, x, "target")
    same = (targets == labels).nonzero().flatten().tolist()
    if same:
        raise GoalError(f"the target of image {same[0]} is its own class {int(labels[same[0]])}: choose another class")
    return Goal(targets, targeted=True)


@torch.inference_mode(False)
def run(
    attack: Attack,
    model: Model,
    x: Tensor,
    goal: Goal,
    *,
    seed: int = 0,
    trace: bool | int = False,
    keep: Keep = "last",
    norm: str = "l2",
    access: Access = Access.GRADIENTS,
    drop_solved: bool = False,
    joint: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    watch: Watch = lambda step, share: None,
) -> Result:
    """Runs an attack to its end and measures what it found.

    Args:
        attack: the generator of iterates.
        model: images in [0,1] -> logits; never changed. One in training mode is attacked as a copy in eval mode.
        x: clean images [N,C,H,W] in [0,1].
        goal: what the attack wants, for these images.
        seed: the same seed gives the same result, whatever the batch size.
        trace: keep every iterate as a `Frame`; a number keeps the pictures of at most that many, evenly spread.
        keep: "last" keeps the last iterate; "closest" the successful one nearest to the image, else the last.
        norm: in which the closest is the closest: "linf", "l2", "l1" or "l0".
        access: what the attack may ask of the model.
        drop_solved: stop working on an image as soon as its goal is reached; its later frames repeat the last.
        joint: the attack makes one perturbation for all images: they are neither split into chunks nor dropped, and the
            attack cuts its calls of the model to memory itself.
        cancel: asked after every iterate; once True, the attack ends with what it has.
        watch: told of every iterate.

    Raises:
        ImageError, GoalError, ModelError: for what cannot be attacked.
        ParamError: for a seed that is no whole number from 0 to 2^64-1.
    """
    if not callable(model):
        raise ModelError(f"a model must be callable, images to logits, not {type(model).__name__}: use lab.load_model")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**64:
        raise ParamError(f"seed must be a whole number between 0 and 2^64-1, not {seed!r}")
    x = _outside_inference(check_images(x))
    goal = Goal(_outside_inference(goal.labels), goal.targeted)
    model = devices.in_eval_mode(model)
    if not len(x):
        return _empty(x)
    device = devices.of(model, x)
    fast = fold(model, x[:1].to(device), gradients=access is Access.GRADIENTS)
    done: list[Result] = []
    fitting = list(devices.chunks(model, x, Watched(model, Access.GRADIENTS, goal)))
    for part in [slice(0, len(x))] if joint else fitting:
        chunk = _Chunk(
            model=Watched(fast.model, access, goal, warns=part.start == 0),
            judge=model if fast.error else None,
            slack=SLACK * fast.error,
            clean=x[part].to(device, copy=True),
            goal=Goal(goal.labels[part].to(device), goal.targeted),
            keep=keep,
            length=LENGTHS[norm],
            trace=trace,
            drop_solved=drop_solved and not joint,
            portions=fitting if joint else [slice(None)],
        )
        share = part.start / len(x)
        chunk.run(attack, torch.Generator().manual_seed(int(seed)), cancel, partial(_tell, watch, share))
        done.append(chunk.result())
        if not done[-1].complete:
            rest = slice(part.stop, len(x))
            if rest.start < len(x):
                done.append(_untouched(model, x[rest].to(device), goal.rows(rest), trace))
            break
    return _join(done, x.device)


def _outside_inference(t: Tensor) -> Tensor:
    """The tensor, or a copy where it was made in inference mode, which autograd cannot use."""
    return t.clone() if t.is_inference() else t


def _tell(watch: Watch, share: float, step: int) -> None:
    watch(step, share)


class _Chunk:
    """The state of one run over the images that fit into memory together.

    The attack works on a faster equal of the model where there is one; then `judge` is the model itself, which has the
    last word, and a goal counts as reached once the margin is larger than `slack`, more than the two can differ.
    """

    def __init__(
        self,
        model: Watched,
        clean: Tensor,
        goal: Goal,
        keep: Keep,
        trace: bool | int,
        drop_solved: bool,
        length: Callable[[Tensor], Tensor] = LENGTHS["l2"],
        judge: Model | None = None,
        slack: float = 0.0,
        portions: Sequence[slice] = (slice(None),),
    ) -> None:
        n = len(clean)
        self.model, self.clean, self.goal = model, clean, goal
        self.length, self.judge, self.slack = length, judge, slack
        self.portions = portions
        self.keep, self.trace, self.drop_solved = keep, trace, drop_solved
        self.x = clean
        self.origin = clean.cpu() if trace else clean
        self.logits: Tensor | None = None
        self.now: tuple[Tensor, Tensor] | None = None
        self.closest = torch.full((n,), float("inf"), dtype=clean.dtype, device=clean.device)
        self.queries = torch.zeros(n, dtype=torch.int64)
        self.backwards = torch.zeros(n, dtype=torch.int64)
        self.rows = torch.arange(n, device=clean.device)
        self.stage = [""] * n
        self.frames: list[Frame] = []
        self.stride = 1
        self.complete = True

    def run(
        self, attack: Attack, rng: torch.Generator, cancel: Callable[[], bool], watch: Callable[[int], None]
    ) -> None:
        """Draws the iterates one by one."""
        steps = attack(self.model, self.clean, self.goal, rng)
        send: Tensor | None = None
        step = 0
        try:
            while True:
                iterate = steps.send(send)
                self._count(len(iterate.x))
                send = self._take(self._live(iterate), step)
                watch(step)
                if send is not None and not len(send):
                    break
                if cancel():
                    self.complete = False
                    break
                step += 1
        except StopIteration:
            pass
        finally:
            steps.close()

    def _count(self, images: int) -> None:
        """Shares the forwards and backwards since the last iterate among the images that the attack works on."""
        queries, backwards = -(-self.model.forwards // images), -(-self.model.backwards // images)
        if len(self.rows) == len(self.clean):
            self.queries += queries
            self.backwards += backwards
        else:
            rows = self.rows.cpu()
            self.queries[rows] += queries
            self.backwards[rows] += backwards
        self.model.forwards = self.model.backwards = 0

    def _live(self, it: Iterate) -> Iterate:
        """The iterate of the images still at work, also where the attack goes on with all."""
        if len(it.x) == len(self.rows):
            return it
        logits, settled = (None if t is None else t[self.rows] for t in (it.logits, it.settled))
        return replace(it, x=it.x[self.rows], logits=logits, settled=settled)

    def _take(self, it: Iterate, step: int) -> Tensor | None:
        """Keeps what is to be kept of an iterate; the rows to go on with, where some are done."""
        if not (self.trace or self.drop_solved or self.keep == "closest"):
            self.x, self.logits = it.x, it.logits
            return None
        logits = self._evaluate(it.x) if it.logits is None else it.logits
        if self.trace:
            self.now = self._spread(it.x, logits)
            self._film(self._frame(step, *self.now))
        if self.keep == "last" and not self.drop_solved:
            self.x, self.logits = it.x, logits
            return None
        if self.logits is None:
            self.logits = logits.clone()
        goal, clean, best = self.goal, self.clean, self.closest
        if len(self.rows) < len(self.clean):
            goal, clean, best = goal.rows(self.rows), clean[self.rows], best[self.rows]
        hit = goal.margin(logits) < -self.slack if self.slack else goal.reached(logits.argmax(1))
        better = torch.ones_like(hit)
        if self.keep == "closest":
            length = self.length(it.x - clean).to(best)
            nearer = hit & (length < best * NEARER)
            better = nearer | (~hit & best.isinf())
            best = torch.where(nearer, length, best)
            self.closest = best if len(best) == len(self.closest) else self.closest.index_copy(0, self.rows, best)
        if better.any():
            self.x, self.logits = self._store(self.x, it.x, better), self._store(self.logits, logits, better)
        done = hit if self.drop_solved else torch.zeros_like(hit)
        if it.settled is not None:
            done = done | (it.settled & self.closest[self.rows].isfinite())
        if not done.any():
            return None
        if it.stage:
            for row in self.rows[hit].tolist():
                self.stage[row] = it.stage
        live = (~done).nonzero().flatten()
        self.rows = self.rows[live]
        return live

    def _film(self, frame: Frame) -> None:
        """Appends a frame; where pictures are limited, every second one goes whenever there are too many."""
        self.frames.append(frame)
        if self.trace is True:
            return
        if len(self.frames) > 1 and self.frames[-2].step % self.stride:
            self.frames[-2] = _blank(self.frames[-2])
        if sum(len(f.x) > 0 for f in self.frames) > max(2, self.trace):
            self.stride *= 2
            self.frames[:-1] = [_blank(f) if f.step % self.stride else f for f in self.frames[:-1]]

    def _spread(self, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Images and logits of all rows: those no longer at work stay where they were."""
        if self.now is None or len(self.rows) == len(self.clean):
            return x, logits
        every = torch.ones(len(x), dtype=torch.bool, device=x.device)
        return self._store(self.now[0], x, every), self._store(self.now[1], logits, every)

    def _store(self, into: Tensor, new: Tensor, better: Tensor) -> Tensor:
        if len(new) == len(into):
            return torch.where(per_row(better, into), new, into)
        into = into.clone()
        into[self.rows[better]] = new[better]
        return into

    def _evaluate(self, x: Tensor) -> Tensor:
        """The driver's own look at the model; not one of the attack's queries."""
        with torch.no_grad():
            return torch.cat([self.model.answer(x[part]) for part in self.portions])

    def _frame(self, step: int, x: Tensor, logits: Tensor) -> Frame:
        predictions = logits.argmax(1)
        return Frame(
            step=step,
            x=x.cpu(),
            loss=self.goal.loss(logits).cpu(),
            margin=self.goal.margin(logits).cpu(),
            predictions=predictions.cpu(),
            confidence=logits.softmax(1).amax(1).cpu(),
            distance=Distances(x.cpu(), self.origin),
            success=self.goal.reached(predictions).cpu(),
            queries=self.queries.clone(),
        )

    def result(self) -> Result:
        """What stands at the end, measured."""
        if self.judge is not None:
            with torch.no_grad():
                logits = torch.cat([self.judge(self.x[part]) for part in self.portions])
        else:
            logits = self._evaluate(self.x) if self.logits is None else self.logits
        if not logits.isfinite().all():
            raise ModelError("the model answered NaN or infinity during the attack: check its weights")
        predictions = logits.argmax(1)
        return Result(
            x=self.x,
            success=self.goal.reached(predictions),
            distance=distances(self.x, self.clean),
            queries=self.queries,
            backwards=self.backwards,
            predictions=predictions,
            confidence=logits.softmax(1).amax(1),
            frames=tuple(self.frames),
            complete=self.complete,
            stage=tuple(self.stage) if any(self.stage) else (),
        )


def _blank(frame: Frame) -> Frame:
    """A frame without its picture."""
    return replace(frame, x=frame.x[:0], distance=dict(frame.distance))


def _untouched(model: Model, x: Tensor, goal: Goal, trace: bool | int) -> Result:
    """The result for images that a cancelled run never came to; traced, they have one frame, the clean images."""
    results = []
    for part in devices.chunks(model, x):
        own = Goal(goal.labels[part].to(x.device), goal.targeted)
        chunk = _Chunk(Watched(model, Access.SCORES, own), x[part], own, "last", trace, False)
        chunk.complete = False
        if trace:
            chunk._take(Iterate(x[part]), 0)
        results.append(chunk.result())
    return _join(results, x.device)


def _empty(x: Tensor) -> Result:
    none, whole = torch.zeros(0, device=x.device), torch.zeros(0, dtype=torch.int64, device=x.device)
    return Result(
        x=x.clone(),
        success=whole.bool(),
        distance={**dict.fromkeys(NORMS, none), "l0": whole},
        queries=whole,
        backwards=whole,
        predictions=whole,
        confidence=none,
    )


def _join(parts: Sequence[Result], device: torch.device) -> Result:
    """The results of several chunks as one, on the caller's device."""
    tensors = ("x", "success", "queries", "backwards", "predictions", "confidence")
    return Result(
        **{name: torch.cat([getattr(p, name).to(device) for p in parts]) for name in tensors},
        distance={k: torch.cat([p.distance[k].to(device) for p in parts]) for k in parts[0].distance},
        frames=_join_frames([p.frames for p in parts if p.frames]),
        complete=all(p.complete for p in parts),
        stage=sum((p.stage or ("",) * len(p.x) for p in parts), ()) if any(p.stage for p in parts) else (),
    )


def _join_frames(parts: Sequence[tuple[Frame, ...]]) -> tuple[Frame, ...]:
    """Frames of the same step side by side; a chunk that ended earlier repeats its last one."""
    if len(parts) < 2:
        return parts[0] if parts else ()
    names = [f.name for f in fields(Frame) if f.name not in ("step", "distance")]
    joined = []
    for step in range(max(map(len, parts))):
        at = [p[min(step, len(p) - 1)] for p in parts]
        if not all(len(f.x) for f in at):
            at = [_blank(f) for f in at]
        merged = {name: torch.cat([getattr(f, name) for f in at]) for name in names}
        distance = {k: torch.cat([f.distance[k] for f in at]) for k in at[0].distance}
        joined.append(replace(at[0], step=step, distance=distance, **merged))
    return tuple(joined)
