"""The driver: runs any attack and owns what every attack needs.

An attack yields iterates; here they become a result. Which images are still at work is in `rows`, what each has cost in
`passes`, which iterate is kept in `best`, and what was seen on the way in `film`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import torch
from torch import Tensor

from lab import devices
from lab.attacks.best import Best
from lab.attacks.film import Film, side_by_side
from lab.attacks.norms import LENGTHS, NORMS, distances
from lab.attacks.rows import Passes, Rows
from lab.attacks.spec import Spec
from lab.attacks.validate import check_images, check_model, check_seed
from lab.attacks.watched import Watched
from lab.folding import Folded, fold
from lab.progress import SILENT, Cancelled, Progress
from lab.types import Access, Attack, Goal, Iterate, Model, ModelError, Result, Steps

SLACK = 10.0
"""How many times the difference measured between a model and its faster equal an attack has to clear."""


@torch.inference_mode(False)
def run(
    spec: Spec,
    attack: Attack,
    model: Model,
    x: Tensor,
    goal: Goal,
    *,
    seed: int = 0,
    trace: bool | int = False,
    drop_solved: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Runs an attack to its end and measures what it reached.

    Args:
        spec: what the attack may ask, which of its iterates count, and whether its images depend on each other.
        attack: the generator of iterates.
        model: images in [0,1] -> logits; never changed. One in training mode is attacked as a copy in eval mode.
        x: clean images [N,C,H,W] in [0,1].
        goal: what the attack wants, for these images.
        seed: the same seed gives the same result, whatever the batch size.
        trace: keep every iterate as a `Frame`; a number keeps the pictures of at most that many, evenly spread.
        drop_solved: stop working on an image as soon as its goal is reached, as some attacks always do; its later
            frames repeat the last.
        progress: hears of every iterate; where the work is to stop, the attack ends with what it has.

    Raises:
        ImageError, GoalError, ModelError: for what cannot be attacked.
        ParamError: for a seed that is no whole number from 0 to 2^64-1.
    """
    check_model(model)
    seed = check_seed(seed)
    x = _outside_inference(check_images(x))
    goal = Goal(_outside_inference(goal.labels), goal.targeted)
    model = devices.in_eval_mode(model)
    if not len(x):
        return _nothing(x)
    device = devices.of(model, x)
    fast = fold(model, x[:1].to(device), gradients=spec.access is Access.GRADIENTS)
    fitting = list(devices.chunks(model, x, Watched(model, Access.GRADIENTS, goal).answer))
    results: list[Result] = []
    for part in [slice(0, len(x))] if spec.joint else fitting:
        seen = Watched(fast.model, spec.access, goal, part.start == 0, fitting if spec.joint else [slice(None)])
        clean, own = x[part].to(device, copy=True), Goal(goal.labels[part].to(device), goal.targeted)
        chunk = Chunk(spec, attack, seen, clean, own, trace, drop_solved, model, fast)
        chunk.follow(torch.Generator().manual_seed(seed), progress.part(part.start / len(x), part.stop / len(x)))
        results.append(chunk.result())
        if not chunk.complete:
            rest = slice(part.stop, len(x))
            results += _untouched(spec, attack, model, x[rest].to(device), goal.rows(rest), trace)
            break
    return _joined(results, x.device)


class Chunk:
    """One run over the images that fit into memory together.

    The attack works on a faster equal of the model where there is one. The model itself has the last word, and on the
    way a goal counts as reached once the margin is larger than the two can differ.
    """

    def __init__(
        self,
        spec: Spec,
        attack: Attack,
        seen: Watched,
        clean: Tensor,
        goal: Goal,
        trace: bool | int = False,
        drop_solved: bool = False,
        judge: Model | None = None,
        fast: Folded | None = None,
    ) -> None:
        self.attack, self.seen, self.clean, self.goal = attack, seen, clean, goal
        self.drops = (drop_solved or spec.until_reached) and not spec.joint
        self.closest = spec.keep == "closest"
        self.slack = SLACK * fast.error if fast else 0.0
        self.judge = judge if self.slack else None
        self.rows, self.passes = Rows(clean), Passes(len(clean))
        self.best = Best(clean, LENGTHS[getattr(attack, "norm", spec.norm)])
        self.film = Film(clean, goal, None if trace is True else trace) if trace else None
        self.stage = [""] * len(clean)
        self.complete = True

    def follow(self, rng: torch.Generator, progress: Progress) -> None:
        """Draws the iterates one by one, until the attack ends, nothing is left to do, or the work is to stop."""
        step, steps = 0, planned(self.attack)
        rows: Tensor | None = None
        with closing(self.attack(self.seen, self.clean, self.goal, rng)) as iterates:
            while (iterate := _next(iterates, rows)) is not None:
                self.passes.share(*self.seen.count(), len(iterate.x), self.rows)
                rows = self.take(step, self.rows.live(iterate))
                if rows is not None and not len(rows):
                    return
                try:
                    _tell(progress, step, steps)
                except Cancelled:
                    self.complete = False
                    return
                step += 1

    def take(self, step: int, it: Iterate) -> Tensor | None:
        """Keeps what is to be kept of an iterate; the rows to go on with, where some are done."""
        if not (self.film or self.drops or self.closest):
            self.best.last(it.x, it.logits)
            return None
        logits = self.seen.look(it.x) if it.logits is None else it.logits
        if self.film:
            self.film.take(step, it.x, logits, self.passes.forwards, self.rows)
        if not (self.drops or self.closest):
            self.best.last(it.x, logits)
            return None
        hit = self._reached(logits)
        if self.closest:
            self.best.closest(it.x, logits, hit, self.rows)
        else:
            self.best.where(torch.ones_like(hit), it.x, logits, self.rows)
        return self._leave(it, hit)

    def _reached(self, logits: Tensor) -> Tensor:
        """Which of the images at work reach their goal, beyond doubt."""
        goal = self.goal if self.rows.whole else self.goal.rows(self.rows.at)
        return goal.margin(logits) < -self.slack if self.slack else goal.reached(logits.argmax(1))

    def _leave(self, it: Iterate, hit: Tensor) -> Tensor | None:
        """Lets go of the images that are done, and notes which stage of the attack brought them to their goal."""
        done = hit if self.drops else torch.zeros_like(hit)
        if it.settled is not None:
            done = done | (it.settled & self.rows.of(self.best.distance).isfinite())
        if it.stage and done.any():
            for row in self.rows.at[hit].tolist():
                self.stage[row] = it.stage
        return self.rows.leave(done)

    def result(self) -> Result:
        """What stands at the end, measured."""
        x, logits = self.best.x, self.best.logits
        if self.judge is not None:
            logits = replace(self.seen, model=self.judge).look(x)
        elif logits is None:
            logits = self.seen.look(x)
        if not logits.isfinite().all():
            raise ModelError("the model answered NaN or infinity during the attack: check its weights")
        predictions = logits.argmax(1)
        return Result(
            x=x,
            success=self.goal.reached(predictions),
            distance=distances(x, self.clean),
            queries=self.passes.forwards,
            backwards=self.passes.backwards,
            predictions=predictions,
            confidence=logits.softmax(1).amax(1),
            frames=tuple(self.film.frames) if self.film else (),
            complete=self.complete,
            stage=tuple(self.stage) if any(self.stage) else (),
        )


def planned(attack: Attack) -> int | None:
    """How many iterations an attack is to make at most; None where its parameters do not say."""
    steps, searches = getattr(attack, "steps", None), getattr(attack, "searches", 1)
    return steps * searches if isinstance(steps, int) else None


def _next(iterates: Steps, rows: Tensor | None) -> Iterate | None:
    """The next iterate, of these rows of the last one where some are done; None at the end."""
    try:
        return iterates.send(rows)
    except StopIteration:
        return None


def _tell(progress: Progress, step: int, steps: int | None) -> None:
    if steps is None or step > steps:
        progress.tell(0.0, f"iteration {step:,}")
    else:
        progress.tell(step / (steps + 1), f"iteration {step:,} of {steps:,}")


def _outside_inference(t: Tensor) -> Tensor:
    """The tensor, or a copy where it was made in inference mode, which autograd cannot use."""
    return t.clone() if t.is_inference() else t


def _untouched(spec: Spec, attack: Attack, model: Model, x: Tensor, goal: Goal, trace: bool | int) -> Sequence[Result]:
    """The results for images that a cancelled run never came to; traced, they have one frame, the clean images."""
    results = []
    for part in devices.chunks(model, x) if len(x) else ():
        own = Goal(goal.labels[part].to(x.device), goal.targeted)
        chunk = Chunk(replace(spec, keep="last"), attack, Watched(model, Access.SCORES, own), x[part], own, trace)
        chunk.complete = False
        if chunk.film:
            chunk.take(0, Iterate(x[part]))
        results.append(chunk.result())
    return results


def _nothing(x: Tensor) -> Result:
    """The result for no images."""
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


def _joined(parts: Sequence[Result], device: torch.device) -> Result:
    """The results of several chunks as one, on the caller's device."""
    tensors = ("x", "success", "queries", "backwards", "predictions", "confidence")
    return Result(
        **{name: torch.cat([getattr(p, name).to(device) for p in parts]) for name in tensors},
        distance={k: torch.cat([p.distance[k].to(device) for p in parts]) for k in parts[0].distance},
        frames=side_by_side([p.frames for p in parts if p.frames]),
        complete=all(p.complete for p in parts),
        stage=sum((p.stage or ("",) * len(p.x) for p in parts), ()) if any(p.stage for p in parts) else (),
    )
