"""A training that a person asks for: what it depends on, how it is run, stopped and resumed, and its card."""

from __future__ import annotations

import copy
import math
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import nn

from lab.data.catalog import of_task
from lab.data.official import CLASSES
from lab.data.training import training_subset
from lab.models.nets import build, count_parameters
from lab.params import Value
from lab.progress import Progress
from lab.training.fit import Epoch, fit
from lab.training.measure import clean_accuracy, pgd_accuracy
from lab.training.presets import PRESETS
from lab.training.recipe import RULES
from lab.training.rules import Rule, overfitted

MEASURED = 500
"""Held images that are attacked after every epoch, and for the card."""
STEPS = 10
"""Of the PGD after every epoch."""
SETTINGS: Mapping[str, Any] = {"batch": 32, "schedule": "triangle", "weight_decay": 0.01}
"""Small batches: with few images, a net needs the many descents to become robust at all."""


@dataclass(frozen=True)
class Plan:
    """What a training depends on.

    Attributes:
        task: "mnist" or "fashion_mnist".
        source: of the images, as in `lab.data.training`.
        net: architecture in `lab.models.nets.NETS`.
        way: in WAYS.
        params: values of `Way.params`.
        eps: of the rule, and of the attacks that measure.
        epochs: how many.
        images: how many to train on.
        lr: learning rate at its highest.
        seed: of the weights and of all random numbers.
    """

    task: str
    source: str
    net: str
    way: str
    params: tuple[tuple[str, Value], ...]
    eps: float
    epochs: int
    images: int
    lr: float
    seed: int

    @property
    def key(self) -> Hashable:
        """What the trained net depends on."""
        return astuple(self)

    @property
    def rule(self) -> Rule:
        """The loss that is descended."""
        kind, values = RULES[PRESETS[self.way].rule], {**PRESETS[self.way].fixed, **dict(self.params)}
        if any(f.name == "eps" for f in fields(kind)):
            values["eps"] = self.eps
        rule: Rule = kind(**values)
        return rule


@dataclass(frozen=True)
class Trained:
    """A training as far as it came.

    Attributes:
        plan: what was asked for.
        text: what it was trained on.
        epochs: those that are done.
        net: as it is after the last of them, in eval mode, frozen; None before the first is done.
    """

    plan: Plan
    text: str
    epochs: tuple[Epoch, ...]
    net: nn.Module | None

    @property
    def key(self) -> Hashable:
        """What further results depend on."""
        return self.plan.key, len(self.epochs)

    @property
    def finished(self) -> bool:
        """Whether no epoch is to come."""
        return bool(self.epochs) and (bool(self.epochs[-1].note) or len(self.epochs) == self.plan.epochs)

    @property
    def kept(self) -> Epoch:
        """The epoch whose net this is: the last, or the one before it where that was taken back."""
        return self.epochs[-2 if self.epochs[-1].note and len(self.epochs) > 1 else -1]

    @property
    def overfitted(self) -> bool:
        """Whether the last epoch shows catastrophic overfitting."""
        last = self.epochs[-1].validation if self.epochs else {"fgsm": 0.0, "robust": 0.0}
        return overfitted(last["fgsm"], last["robust"])


class Folder:
    """A temporary folder that goes when nobody holds it any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="lab-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass
class TrainingRun:
    """A training that can be stopped and resumed: its checkpoint, and its epochs and net so far."""

    plan: Plan
    folder: Folder = field(default_factory=Folder)
    epochs: list[Epoch] = field(default_factory=list)
    net: nn.Module | None = None

    def run(self, watch: Callable[[Trained, float, str], bool]) -> Trained:
        """Trains, or goes on where it was stopped; the weights at the end are the same.

        Args:
            watch: called before every batch with what there is so far, the share of this run that is done, and what is
                being done, for a person; once it answers True, the run ends without the unfinished epoch.

        Raises:
            DataError: if the images are not there.
            ModelError: if the loss becomes NaN or infinite.
        """
        plan, before, asked = self.plan, len(self.epochs), 0
        data = training_subset(plan.task, plan.source, plan.images)
        channels, height, width = data.train.x.shape[1:]
        net = build(plan.net, (channels, height, width), len(CLASSES[plan.task]), seed=plan.seed)
        batches = math.ceil(len(data.train) / SETTINGS["batch"]) * (plan.epochs - before)
        so_far, started = Trained(plan, data.text, tuple(self.epochs), self.net), time.perf_counter()

        def stop() -> bool:
            nonlocal asked
            asked += 1
            done = len(self.epochs) - before
            pace = f", {(time.perf_counter() - started) / asked * batches / (plan.epochs - before):.1f} s each"
            return watch(
                so_far, (asked - 1) / batches, f"epoch {before + done + 1} of {plan.epochs}" + pace * bool(done)
            )

        for epoch in fit(
            net,
            data.train,
            plan.rule,
            validate=data.held.rows(slice(0, MEASURED)),
            attack={"eps": plan.eps, "alpha": plan.eps / 4, "steps": STEPS},
            checkpoint=self.folder.path / "checkpoint.safetensors",
            progress=Progress(stop=stop),
            epochs=plan.epochs,
            lr=plan.lr,
            seed=plan.seed,
            **SETTINGS,
        ):
            if epoch.number > len(self.epochs):
                self.epochs.append(epoch)
            self.net = copy.deepcopy(net).eval().requires_grad_(False)
            so_far = Trained(plan, data.text, tuple(self.epochs), self.net)
        return so_far


def card(found: Trained, net: nn.Module, name: str, summary: str) -> dict[str, Any]:
    """What there is to say of a trained net, measured now on held images; ready for JSON and `card_of`.

    Args:
        found: how it was trained.
        net: the net, which is not changed.
        name: for a person.
        summary: one sentence.
    """
    plan = found.plan
    held, device = training_subset(plan.task, plan.source, plan.images).held, next(net.parameters()).device
    x, y = held.x.to(device), held.y.to(device)
    robust = pgd_accuracy(net, x[:MEASURED], y[:MEASURED], eps=plan.eps, seed=plan.seed)
    epoch = found.kept.number
    return {
        "key": f"{plan.task}/own",
        "name": name,
        "summary": summary,
        "architecture": plan.net,
        "dataset": of_task(plan.task).key,
        "input_shape": list(x.shape[1:]),
        "classes": list(CLASSES[plan.task]),
        "parameters": count_parameters(net),
        "rule": {"name": PRESETS[plan.way].rule, **PRESETS[plan.way].fixed, **dict(plan.params)},
        "eps": plan.eps,
        "accuracy": clean_accuracy(net, x, y),
        "accuracy_n": len(y),
        "accuracy_note": f"on {len(y):,} held-out images",
        "robust": [asdict(robust) | {"notes": f"{robust.notes}; held-out images"}],
        "training": {"epochs": epoch, "planned": plan.epochs, "lr": plan.lr, **SETTINGS},
        "data": found.text,
        "seed": plan.seed,
        "command": f"{epoch} epochs on the Defenses page, seed {plan.seed}",
        "licence": "as this repository; trained by it from scratch",
    }
