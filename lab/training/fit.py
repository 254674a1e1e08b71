"""Training as a generator of epochs: resumable, reproducible, cancellable."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab import devices
from lab.images import Images
from lab.models.weights import read_tensors, write_tensors
from lab.params import describe, param, parse
from lab.progress import SILENT, Cancelled, Progress
from lab.training.rules import Ramped, Replaying, Rule, Watching, ascend, error, perturb
from lab.types import DataError, ModelError

HELD = 512
"""How many images a watching rule is shown after each epoch."""


@dataclass(frozen=True)
class Settings:
    """How a net is trained, whatever the rule."""

    epochs: int = param(10, bounds=(1, 1000), help="How often every image is seen.")
    batch: int = param(128, bounds=(1, 8192), unit="images", help="Images per descent.")
    lr: float = param(1e-3, bounds=(0, 10), help="Learning rate, at its highest.")
    seed: int = param(0, bounds=(0, 2**31 - 1), help="The same seed gives the same weights on the same device.")
    optimiser: Literal["adam", "sgd"] = param("adam", help="Adam, or stochastic gradient descent with momentum 0.9.")
    weight_decay: float = param(0.0, bounds=(0, 1), help="How strongly weights are pulled to zero, decoupled.")
    schedule: Literal["constant", "one_cycle", "triangle"] = param(
        "one_cycle", help="How the learning rate moves: not at all, up and down along cosines, or along lines."
    )
    weight_average: float = param(
        0.0, bounds=(0, 0.99999), help="Share of the averaged weights kept at each descent; 0 keeps the last weights."
    )
    precision: Literal["float32", "bfloat16"] = param(
        "float32", help="Numbers within the net while it trains; bfloat16 is faster on processors that have it."
    )


@dataclass(frozen=True)
class Augment:
    """Random changes of the training images that leave the class as it is."""

    shift: float = param(0.0, bounds=(0, 8), unit="pixels", help="Largest shift along each axis.")
    rotate: float = param(0.0, bounds=(0, 45), unit="degrees", help="Largest rotation.")
    scale: float = param(0.0, bounds=(0, 0.5), unit="of the size", help="Largest change of size.")
    whole: bool = param(False, help="Shift by whole pixels only, so that edges stay as sharp as they are.")
    flip: bool = param(False, help="Mirror every other image, left to right.")

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Images [N,C,H,W] in [0,1], each changed by itself; what comes into the picture from outside is black."""
        if self == Augment():
            return x
        shift, turn, size, side = (2 * torch.rand((4, len(x), 2), generator=rng) - 1).unbind(0)
        angle = turn[:, 0] * math.radians(self.rotate)
        zoom = 1 + self.scale * size[:, 0]
        mirror = torch.where(side[:, 0] < 0, -1.0, 1.0) if self.flip else torch.ones(len(x))
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        pixels = shift * self.shift
        if self.whole:
            pixels = (shift * (self.shift + 0.5)).round().clamp(-self.shift, self.shift)
        offset = pixels * 2 / torch.tensor([x.shape[3], x.shape[2]])
        theta = torch.stack([cos * mirror, -sin, offset[:, 0], sin * mirror, cos, offset[:, 1]], 1)
        grid = F.affine_grid(theta.view(-1, 2, 3), list(x.shape), align_corners=False).to(x)
        return F.grid_sample(x, grid, align_corners=False).clamp_(0, 1)


@dataclass(frozen=True)
class Epoch:
    """What one epoch brought.

    Attributes:
        number: counted from 1.
        of: how many there are to be.
        seconds: how long it took.
        elapsed: how long all epochs so far took, those before an interruption too.
        loss: mean over its batches.
        accuracy: share of (up to 2,000) training images classified right after it.
        lr: learning rate at its end.
        validation: share of the validation images classified right: "clean", and, where an attack is asked for, under
            "fgsm" (one step of eps) and "robust" (under PGD). FGSM high and PGD low is catastrophic overfitting.
        note: why the training ended early, or "".
    """

    number: int
    of: int
    seconds: float
    elapsed: float
    loss: float
    accuracy: float
    lr: float
    validation: Mapping[str, float]
    note: str = ""


@dataclass
class _Run:
    """The state of a training: the net, its optimiser and average, and how far it got."""

    net: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    settings: Settings
    identity: str
    last: Epoch | None = None

    @property
    def done(self) -> int:
        """How many epochs lie behind."""
        return self.last.number if self.last else 0

    @property
    def finished(self) -> bool:
        """Whether no more epochs are to come."""
        return self.last is not None and (bool(self.last.note) or self.last.number == self.settings.epochs)

    def save(self, path: Path) -> None:
        """Writes a checkpoint aside and renames it."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, p in enumerate(self.net.parameters()):
            tensors |= {f"optimiser.{i}.{k}": v for k, v in self.optimiser.state.get(p, {}).items()}
        # the net may be its own average, and the file format wants no two tensors in the same memory
        tensors = {k: v.clone() for k, v in tensors.items()}
        last = json.dumps(asdict(self.last)) if self.last else "null"
        write_tensors(path, tensors, {"identity": self.identity, "last": last})

    def load(self, path: Path) -> None:
        """Continues from a checkpoint.

        Raises:
            ModelError: if it is damaged or belongs to another run.
        """
        tensors, about = read_tensors(path)
        own = {f"net.{k}": v.shape for k, v in self.net.state_dict().items()}
        saved = {k: v.shape for k, v in tensors.items() if k.startswith("net.")}
        if about.get("identity") != self.identity or own != saved:
            raise ModelError(f"{path} belongs to another training run: remove it, or name another checkpoint")
        self.net.load_state_dict(_under("net.", tensors))
        self.average.load_state_dict(_under("average.", tensors))
        for i, p in enumerate(self.net.parameters()):
            state = _under(f"optimiser.{i}.", tensors)
            if state:
                self.optimiser.state[p] = {k: _like(p, v) for k, v in state.items()}
        self.last = Epoch(**json.loads(about["last"]))


def fit(
    net: nn.Module,
    data: Images,
    rule: Rule,
    *,
    device: torch.device | None = None,
    augment: Augment | None = None,
    validate: Images | None = None,
    attack: Mapping[str, float] | None = None,
    checkpoint: Path | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Iterator[Epoch]:
    """Trains a net and yields after every epoch.

    The net is changed in place. Once the last epoch has been yielded it is in eval mode and holds the averaged weights,
    where they are asked for, else the last ones. Each epoch draws its random numbers from a generator seeded by the
    seed and the epoch's number, so that a run resumed after any epoch goes on exactly like one that never stopped;
    global random state stays as it was.

    Args:
        net: images [N,C,H,W] in [0,1] -> logits [N,K].
        data: training images.
        rule: the loss to descend; see `lab.training.rules`.
        device: where to train; by default the lab's device.
        augment: random changes of the training images.
        validate: images to measure on after each epoch; never used for training.
        attack: eps, alpha and steps of the PGD to measure robust accuracy with on the validation images.
        checkpoint: file to write after each epoch, and to resume from if it exists.
        progress: hears of every batch, and of the pace of this run; where the work is to stop, the generator ends
            without the unfinished epoch.
        **settings: fields of `Settings`: epochs, batch, lr, seed, optimiser, schedule, weight_average, ...

    Yields:
        One `Epoch` after each; a resumed run yields the remaining ones, a finished one its last.

    Raises:
        ParamError: for an unknown setting or one out of range.
        DataError: if there are no images.
        ModelError: if the checkpoint belongs to another run, or the loss becomes NaN or infinite.
    """
    chosen = _settings(settings)
    if len(data) == 0:
        raise DataError("there are no images to train on")
    device = device or devices.pick()
    net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = _start(net, chosen, _identity(chosen, rule, augment, data))
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    x, y = data.x.to(device).contiguous(memory_format=torch.channels_last), data.y.to(device)
    if run.last is not None and run.finished:
        _finish(run)
        yield run.last
    start, began = run.done, time.perf_counter()
    while not run.finished:
        left, done = chosen.epochs - start, run.done - start
        pace = (f"{(time.perf_counter() - began) / done:.1f} s each",) if done else ()
        part = progress.part(done / left, (done + 1) / left, f"epoch {run.done + 1} of {chosen.epochs}", *pace)
        before = copy.deepcopy(run.average.state_dict()) if isinstance(rule, Watching) and run.done else None
        epoch = _epoch(run, x, y, rule, augment or Augment(), part)
        if epoch is None:
            return
        run.last = epoch = _measure(run, epoch, rule, (x, y), validate, attack)
        if epoch.note and before is not None:
            run.average.load_state_dict(before)
        if checkpoint is not None:
            run.save(checkpoint)
        if run.finished:
            _finish(run)
        yield epoch


def accuracy(net: nn.Module, x: Tensor, y: Tensor, batch: int = 1000) -> float:
    """Share of images [N,C,H,W] that the net, as it is, classifies as y [N]."""
    with torch.no_grad():
        hits = [(net(x[i : i + batch]).argmax(1) == y[i : i + batch]).sum() for i in range(0, len(x), batch)]
    return int(torch.stack(hits).sum()) / len(x)


def learning_rate(settings: Settings, share: float) -> float:
    """The learning rate where this share of the training is done, 0 to 1."""
    if settings.schedule == "constant":
        return settings.lr
    peak = 0.25
    if settings.schedule == "triangle":
        return settings.lr * (share / peak if share < peak else (1 - share) / (1 - peak))
    low, fallen = (1 / 25, 1 - share / peak) if share < peak else (1e-4, (share - peak) / (1 - peak))
    return settings.lr * (low + (1 - low) * (1 + math.cos(math.pi * fallen)) / 2)


def _settings(given: Mapping[str, Any]) -> Settings:
    known = describe(Settings, {})
    return Settings(**parse(known, given, "training"))  # type: ignore[arg-type]


def _start(net: nn.Module, settings: Settings, identity: str) -> _Run:
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in net.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    optimiser: torch.optim.Optimizer
    if settings.optimiser == "adam":
        optimiser = torch.optim.AdamW(groups, lr=settings.lr)
    else:
        optimiser = torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
    average = copy.deepcopy(net).eval().requires_grad_(False) if settings.weight_average else net
    return _Run(net, average, optimiser, settings, identity)


def _epoch(run: _Run, x: Tensor, y: Tensor, rule: Rule, augment: Augment, progress: Progress) -> Epoch | None:
    """Trains one epoch; None where the work is to stop."""
    s, began = run.settings, time.perf_counter()
    rng = torch.Generator().manual_seed(s.seed * 100_003 + run.done)
    order = torch.randperm(len(x), generator=rng)
    batches = torch.split(order, s.batch)
    run.net.train()
    losses = []
    with devices.own_dice(x.device, s.seed * 100_003 + run.done):
        for i, chosen in enumerate(batches):
            share = (run.done + i / len(batches)) / s.epochs
            try:
                progress.tell(i / len(batches))
            except Cancelled:
                return None
            for group in run.optimiser.param_groups:
                group["lr"] = learning_rate(s, share)
            rows = chosen.to(x.device)
            now = rule.at(share) if isinstance(rule, Ramped) else rule
            losses.append(_descend(run, now, augment(x[rows], rng), y[rows], rng))
            _follow(run, run.done * len(batches) + i)
    number, loss = run.done + 1, float(torch.stack(losses).mean())
    if not math.isfinite(loss):
        raise ModelError(f"the loss became {loss} in epoch {number}: lower the learning rate")
    seconds = time.perf_counter() - began
    elapsed = seconds + (run.last.elapsed if run.last else 0.0)
    return Epoch(number, s.epochs, seconds, elapsed, loss, 0.0, learning_rate(s, number / s.epochs), {})


def _descend(run: _Run, rule: Rule, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
    """One batch: the loss, its gradient and a step, as often as the rule wants."""
    losses = rule.replay(run.net, x, y, rng) if isinstance(rule, Replaying) else None
    total, n = torch.zeros((), device=x.device), 0
    while True:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=run.settings.precision == "bfloat16"):
            loss = rule(run.net, x, y, rng) if losses is None else next(losses, None)
        if loss is None:
            return total / max(1, n)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        run.optimiser.step()
        total, n = total + loss.detach(), n + 1
        if losses is None:
            return total


@torch.no_grad()
def _follow(run: _Run, step: int) -> None:
    """Moves the averaged weights towards the present ones, faster at first."""
    if run.average is run.net:
        return
    keep = min(run.settings.weight_average, (1 + step) / (10 + step))
    for mean, now in zip(run.average.state_dict().values(), run.net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)


def _measure(
    run: _Run,
    epoch: Epoch,
    rule: Rule,
    data: tuple[Tensor, Tensor],
    validate: Images | None,
    attack: Mapping[str, float] | None,
) -> Epoch:
    """The epoch with its accuracies, and with a note if the rule's watch ends the training."""
    net, rng = run.average.eval(), torch.Generator().manual_seed(run.settings.seed)
    x, y = data
    found = {}
    vx, vy = (x, y) if validate is None else (validate.x.to(x.device), validate.y.to(x.device))
    if validate is not None:
        found["clean"] = accuracy(net, vx, vy)
        if attack is not None:
            eps, alpha, steps = attack["eps"], attack["alpha"], int(attack["steps"])
            found["fgsm"] = accuracy(net, ascend(error(net, vy), vx, vx, eps=eps, alpha=eps, steps=1), vy)
            found["robust"] = accuracy(net, perturb(net, vx, vy, rng, eps=eps, alpha=alpha, steps=steps), vy)
    note = rule.watch(net, vx[:HELD], vy[:HELD], rng) if isinstance(rule, Watching) else ""
    return replace(epoch, accuracy=accuracy(net, x[:2000], y[:2000]), validation=found, note=note)


def _finish(run: _Run) -> None:
    if run.average is not run.net:
        run.net.load_state_dict(run.average.state_dict())
    run.net.eval()


def _identity(settings: Settings, rule: Rule, augment: Augment | None, data: Images) -> str:
    """What makes a run this one and no other, as text."""
    shown: dict[str, Any] = {}
    if is_dataclass(rule):
        shown = {f.name: getattr(rule, f.name) for f in fields(rule) if f.metadata}
    about = {"settings": asdict(settings), "rule": [type(rule).__name__, shown], "images": len(data)}
    return json.dumps(about | {"augment": asdict(augment or Augment())}, sort_keys=True)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _like(p: Tensor, value: Tensor) -> Tensor:
    """An optimiser's tensor in the layout and on the device of its parameter."""
    return torch.empty_like(p).copy_(value) if value.shape == p.shape and value.dim() else value.clone()
