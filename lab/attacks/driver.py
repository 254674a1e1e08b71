"""The driver: runs any attack and owns what every attack needs.

An attack yields iterates; here they become a result. Which images are still at work is in `rows`, what each has cost in
`passes`, which iterate is kept in `best`, and what was seen on the way in `film`.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from lab import devices
from lab.attacks.best import Best
from lab.attacks.film import Film, side_by_side
from lab.attacks.norms import LENGTHS, NORMS, distances
from lab.attacks.pace import Pace
from lab.attacks.rounding import bounded, rounded
from lab.attacks.rows import Passes, Rows
from lab.attacks.spec import Spec
from lab.attacks.watched import Watched
from lab.folding import Folded, fold, same, unfold
from lab.gate import HALF, Averaged, Usable, check_images, check_logits, check_seed, look, usable
from lab.progress import SILENT, Cancelled, Progress
from lab.statistics import wilson
from lab.types import Access, Attack, Goal, Iterate, LabWarning, Model, ModelError, Result, Steps

SLACK = 10.0
"""How many times the difference measured between a model and its faster equal an attack has to clear."""
AGAIN = (3, 12, 48)
"""The iterates at which the faster equal is compared with the model once more, and the multiples of the last of these.

An attack of few steps is compared at its end only.
"""
CONFIRMED, JUDGED = 5, 20
"""How many fresh looks at an image decide whether a random model is fooled: on the way, and in the end."""


class Differs(Exception):
    """What was taken for an equal of the model is none."""


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
    start: Tensor | None = None,
    draws: int = 1,
    progress: Progress = SILENT,
) -> Result:
    """Runs an attack to its end and measures what it reached.

    A random model is judged by fresh looks at the end, and an image that fools it at one look only counts as fooled on
    the way where more looks confirm it: an attack must not win by looking often.

    Args:
        spec: what the attack may ask, which of its iterates count, and whether its images depend on each other.
        attack: the generator of iterates.
        model: images in [0,1] -> logits; never changed. One in training mode is attacked as a copy in eval mode.
        x: clean images [N,C,H,W] in [0,1]; in half precision the attack works in float32, and its result is rounded.
        goal: what the attack wants, for these images.
        seed: the same seed gives the same result, whatever the batch size; of the model's random numbers, too.
        trace: keep every iterate as a `Frame`; a number keeps the pictures of at most that many, evenly spread.
        drop_solved: stop working on an image as soon as its goal is reached, as some attacks always do; its later
            frames repeat the last.
        start: where the search for each image begins [N,C,H,W], for an attack that has such a field.
        draws: of a random model, over how many looks the attack averages each answer.
        progress: hears of every iterate, and where the attack is traced sees its frames so far; where the work is to
            stop, the attack ends with what it has.

    Raises:
        ImageError, GoalError, ModelError: for what cannot be attacked.
        ParamError: for a seed that is no whole number from 0 to 2^64-1.
    """
    seed, x = check_seed(seed), check_images(x)
    asked = usable(model, x)
    if not len(x):
        return _nothing(x)
    device, gradients = devices.of(asked, x), spec.access is Access.GRADIENTS
    with _dice(asked, device, seed):
        first = look(asked, x, gradients)
        check_logits(first.logits, len(first.x), goal)
        if first.random:
            _warn(f"the model answers differently at a second look: {JUDGED} fresh looks judge each image")
        elif first.gradient is not None and not first.gradient.any():
            _warn("the model's logits have no gradient at the image: an attack that follows it stands still there")
        fast = fold(asked, first.x, gradients=gradients, seen=first)
        rough = 0.0 if first.random else roughness(fast.model, first.x)
    cost = draws if first.random else 1
    work = Work(spec, attack, asked, x, goal, device, seed, trace, drop_solved, start, cost, first.random, rough)
    try:
        return _run(work, fast, progress)
    except Differs:
        return _run(work, unfold(asked), progress)


@dataclass(frozen=True)
class Work:
    """What is to be done: the arguments of `run`, checked, and what was found out of the model at the first look."""

    spec: Spec
    attack: Attack
    model: Usable
    x: Tensor
    goal: Goal
    device: torch.device
    seed: int
    trace: bool | int
    drop_solved: bool
    start: Tensor | None
    draws: int
    random: bool
    rough: float

    def attack_on(self, part: slice) -> Attack:
        """The attack on some of the images, with their starting points where there are some."""
        if self.start is None:
            return self.attack
        start = self.start[part].to(self.device, self.model.computed)
        return cast("Attack", replace(cast("Any", self.attack), start=start))

    def seen_as(self, fast: Folded, portions: Sequence[slice], warns: bool) -> Watched:
        """The model as the attack sees it: its faster equal, or the mean of several looks at a random one."""
        model = fast.model if self.draws == 1 else self.model.like(Averaged(self.model.model, self.draws))
        return Watched(model, self.spec.access, self.goal, warns, portions, cost=self.draws)


def _run(work: Work, fast: Folded, progress: Progress) -> Result:
    """Runs an attack on the model's faster equal, chunk by chunk.

    Raises:
        Differs: where that turns out not to be its equal.
    """
    model, n, whole = work.model, len(work.x), [slice(None)]
    with _dice(model, work.device, work.seed):
        x = work.x.to(model.computed)
        fitting = list(devices.chunks(model.model, x, Watched(model, Access.GRADIENTS, work.goal).answer))
        results, left = list[Result](), deque([slice(0, n)] if work.spec.joint else fitting)
        while left:
            part = left.popleft()
            seen = work.seen_as(fast, fitting if work.spec.joint else whole, part.start == 0)
            goal = Goal(work.goal.labels[part].to(work.device), work.goal.targeted)
            chunk = Chunk(work, work.attack_on(part), seen, x[part].to(work.device, copy=True), goal, fast)
            done = chunk.to_the_end(work.seed, progress.part(part.start / n, part.stop / n))
            if done is None:  # the memory is short
                del chunk, seen
                size = devices.fewer(1 if work.spec.joint else part.stop - part.start)
                left = deque(slice(i, min(i + size, n)) for i in range(part.start, n, size))
                continue
            results.append(done)
            if not done.complete:
                results += _untouched(work, x[part.stop :].to(work.device), work.goal.rows(slice(part.stop, n)))
                break
    return joined(results, work.x.device)


@contextmanager
def _dice(model: Usable, device: torch.device, seed: int) -> Iterator[None]:
    """Random numbers of a model's own, from torch's generators or from one that it can begin anew, follow the seed."""
    with devices.own_dice(device, seed):
        for module in model.modules():
            restart = getattr(module, "restart", None)
            if callable(restart):
                restart()
        yield


def _warn(message: str) -> None:
    warnings.warn(message, LabWarning, stacklevel=4)


class Chunk:
    """One run over the images that fit into memory together.

    The attack works on a faster equal of the model where there is one. The model itself has the last word, and on the
    way a goal counts as reached once the margin is larger than the two can differ.

    Raises:
        Differs: in `follow` and `result`, where the faster one says something else than the model.
    """

    def __init__(
        self, work: Work, attack: Attack, seen: Watched, clean: Tensor, goal: Goal, fast: Folded | None = None
    ) -> None:
        spec = work.spec
        self.attack, self.seen, self.clean, self.goal, self.random = attack, seen, clean, goal, work.random
        self.gradients = spec.access is Access.GRADIENTS
        self.single = replace(seen, model=work.model) if work.draws > 1 else seen
        self.drops = (work.drop_solved or spec.until_reached) and not spec.joint
        self.closest = spec.keep == "closest"
        self.fast = fast if fast and fast.original else None
        self.slack, self.rough = SLACK * ((self.fast.error if self.fast else 0.0) + work.rough), work.rough > 0
        self.rows, self.passes = Rows(clean), Passes(len(clean))
        self.norm: str = getattr(attack, "norm", spec.norm)
        self.best = Best(clean, LENGTHS[self.norm])
        self.film = Film(clean, goal, None if work.trace is True else work.trace) if work.trace else None
        self.stage = [""] * len(clean)
        self.complete, self.more = True, False

    def to_the_end(self, seed: int, progress: Progress) -> Result | None:
        """What stands at the end of the attack; None where the memory does not suffice."""
        with suppress(torch.OutOfMemoryError):
            self.follow(torch.Generator().manual_seed(seed), progress)
            return self.result()
        return None

    def follow(self, rng: torch.Generator, progress: Progress) -> None:
        """Draws the iterates one by one, until the attack ends, nothing is left to do, or the work is to stop."""
        pace = Pace(progress, planned(self.attack, self.clean))
        self.seen.asks = pace.ask
        try:
            with closing(self.attack(self.seen, self.clean, self.goal, rng)) as iterates:
                self._draw(iterates, pace, progress)
        except Cancelled:
            self.complete = False
            self.passes.share(*self.seen.count(), len(self.rows.at), self.rows)
            if self.film and not self.film.frames:
                self.take(0, Iterate(self.clean))

    def _draw(self, iterates: Steps, pace: Pace, progress: Progress) -> None:
        rows: Tensor | None = None
        step, often = 0, pace.steps is None or pace.steps > AGAIN[1]
        while (iterate := _next(iterates, rows)) is not None:
            self.passes.share(*self.seen.count(), len(iterate.x), self.rows)
            if self.fast and often and (step in AGAIN or (step and not step % AGAIN[-1])):
                self._compare(iterate.x, step)
            rows = self.take(step, self.rows.live(iterate))
            if self.film:
                progress.show(self.film.frames)
            if rows is not None and not len(rows):
                return
            pace.reach(step)
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
        hit = self._reached(it.x, logits)
        if it.hit is not None:
            self.more, hit = True, hit & it.hit
        if self.closest:
            self.best.closest(it.x, logits, hit, self.rows)
        else:
            self.best.where(torch.ones_like(hit), it.x, logits, self.rows)
        return self._leave(it, hit)

    def _reached(self, x: Tensor, logits: Tensor) -> Tensor:
        """Which of the images at work reach their goal, beyond doubt."""
        goal = self.goal if self.rows.whole else self.goal.rows(self.rows.at)
        hit = goal.margin(logits) < -self.slack if self.slack else goal.reached(logits.argmax(1))
        if self.random and hit.any():
            often, rows = torch.zeros(int(hit.sum()), device=x.device), goal.rows(hit)
            for _ in range(CONFIRMED):
                often += rows.reached(self.single.look(x[hit]).argmax(1))
            hit[hit.clone()] = often > CONFIRMED / 2
        return hit

    def _compare(self, x: Tensor, step: int) -> None:
        """Compares model and faster equal at one of the images at work; gradients, which cost more, the less often."""
        one = step // AGAIN[0] % len(x)
        if self.fast and not self.fast.agrees(x[one : one + 1], self.gradients and step >= AGAIN[-1]):
            raise Differs

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
        """What stands at the end, measured; by the model itself."""
        given = self.seen.model.given
        x, eps = self.best.x, getattr(self.attack, "eps", None)
        if given in HALF:
            x = rounded(x, self.clean, given, eps, self.norm)
        elif eps is not None:
            x = bounded(x, self.clean, eps, self.norm)
        logits = self._judged(x)
        predictions = logits.argmax(1)
        success, chance, interval = self.goal.reached(predictions), None, None
        if self.more:  # the goal alone is not enough
            success = success & self.best.distance.isfinite()
        if self.random:
            looks = sum(self.goal.reached(self.single.look(x).argmax(1)).double() for _ in range(JUDGED))
            chance = torch.as_tensor(looks) / JUDGED
            interval = torch.tensor([wilson(round(float(c) * JUDGED), JUDGED) for c in chance]).view(-1, 2)
            success = chance > 0.5
        return Result(
            x=x.to(given),
            success=success,
            distance=distances(x, self.clean),
            queries=self.passes.forwards,
            backwards=self.passes.backwards,
            predictions=predictions,
            confidence=logits.softmax(1).amax(1),
            frames=tuple(self.film.frames) if self.film else (),
            complete=self.complete,
            stage=tuple(self.stage) if any(self.stage) else (),
            chance=chance,
            interval=interval,
        )

    @devices.full_precision()
    def _judged(self, x: Tensor) -> Tensor:
        """The model's own logits at the images that were found.

        Raises:
            ModelError: where they are not finite.
        """
        known = self.best.logits if x is self.best.x and not self.rough else None
        if self.fast is None or self.fast.original is None:
            logits = self.seen.look(x) if known is None else known
        else:
            logits = replace(self.seen, model=self.fast.original).look(x)
        if not logits.isfinite().all():
            raise ModelError("the model answered NaN or infinity during the attack: check its weights")
        if self.fast is not None:
            few = slice(-1, None) if known is None else slice(None)
            found = replace(self.seen, portions=(slice(None),)).look(x[few]) if known is None else known
            if not same(logits[few], found):
                raise Differs
        return logits


def roughness(model: Usable, x: Tensor) -> float:
    """How far the logits of some images [n,C,H,W] are from exact, where the device is allowed to compute with less."""
    if not devices.is_rough(x.device):
        return 0.0
    with torch.no_grad():
        rough = model(x)
        with devices.full_precision():
            return float((model(x) - rough).abs().max())


def planned(attack: Attack, x: Tensor) -> int | None:
    """How many iterations an attack on some images is to make at most; None where its parameters do not say."""
    longest = getattr(attack, "longest", None)
    if longest is not None:
        return int(longest(x))
    steps, searches = getattr(attack, "steps", None), getattr(attack, "searches", 1)
    return steps * searches if isinstance(steps, int) else None


def _next(iterates: Steps, rows: Tensor | None) -> Iterate | None:
    """The next iterate, of these rows of the last one where some are done; None at the end."""
    try:
        return iterates.send(rows)
    except StopIteration:
        return None


def _untouched(work: Work, x: Tensor, goal: Goal) -> Sequence[Result]:
    """The results for images that a cancelled run never came to; traced, they have one frame, the clean images."""
    results = []
    for part in devices.chunks(work.model.model, x, work.model) if len(x) else ():
        own = Goal(goal.labels[part].to(x.device), goal.targeted)
        last = replace(work, spec=replace(work.spec, keep="last"), draws=1)
        chunk = Chunk(last, work.attack, Watched(work.model, Access.SCORES, own), x[part], own)
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


def joined(parts: Sequence[Result], device: torch.device) -> Result:
    """The results of several chunks as one, on the caller's device."""
    tensors = ("x", "success", "queries", "backwards", "predictions", "confidence")
    return Result(
        **{name: torch.cat([getattr(p, name).to(device) for p in parts]) for name in tensors},
        distance={k: torch.cat([p.distance[k].to(device) for p in parts]) for k in parts[0].distance},
        frames=side_by_side([p.frames for p in parts if p.frames]),
        complete=all(p.complete for p in parts),
        chance=_rows(parts, "chance", device),
        interval=_rows(parts, "interval", device),
        stage=sum((p.stage or ("",) * len(p.x) for p in parts), ()) if any(p.stage for p in parts) else (),
    )


def _rows(parts: Sequence[Result], name: str, device: torch.device) -> Tensor | None:
    """What the results of several chunks tell of a random model, as one; None of any other model."""
    tensors = [getattr(p, name) for p in parts]
    return None if any(t is None for t in tensors) else torch.cat([t.to(device) for t in tensors])
