"""A training that a person asks for: what it depends on, how it is run, stopped and resumed, and its card."""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import nn

from lab.data.catalog import of_task
from lab.data.official import CLASSES
from lab.data.training import training_subset
from lab.models.nets import build, count_parameters
from lab.params import Value
from lab.progress import SILENT, Progress
from lab.training.fit import Epoch, fit
from lab.training.measure import clean_accuracy, pgd_accuracy
from lab.training.presets import PRESETS
from lab.training.recipe import RULES
from lab.training.rules import Rule, overfitted

MEASURED = 500
"""Held images that are attacked after every epoch, and for the card."""
STEPS = 10
"""Steps of the PGD that runs after every epoch."""
SETTINGS: Mapping[str, Any] = {"batch": 32, "schedule": "triangle", "weight_decay": 0.01}
"""Small batches: with few images, a net needs the many descents to become robust at all."""


@dataclass(frozen=True)
class Plan:
    """What a training depends on.

    Attributes:
        task: "mnist" or "fashion_mnist".
        source: of the images, as in `lab.data.training`.
        net: architecture in `lab.models.nets.NETS`.
        preset: of the rule, in PRESETS.
        params: values of `Preset.params`.
        eps: of the rule, and of the attacks that measure.
        epochs: how many.
        images: how many to train on.
        lr: learning rate at its highest.
        seed: of the weights and of all random numbers.
    """

    task: str
    source: str
    net: str
    preset: str
    params: tuple[tuple[str, Value], ...]
    eps: float
    epochs: int
    images: int
    lr: float
    seed: int

    @property
    def rule(self) -> Rule:
        """The loss that is descended."""
        kind, values = RULES[PRESETS[self.preset].rule], {**PRESETS[self.preset].fixed, **dict(self.params)}
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
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return self.finished

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

    def record(self) -> dict[str, Any]:
        """What was asked for, what it was trained on, and every epoch."""
        return {
            "plan": asdict(self.plan),
            "data": self.text,
            "finished": self.finished,
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def rows(self) -> list[dict[str, Any]]:
        """The epochs."""
        names = ("number", "loss", "accuracy", "lr", "seconds")
        return [{name: getattr(e, name) for name in names} | dict(e.validation) | {"note": e.note} for e in self.epochs]


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

    def run(self, progress: Progress = SILENT) -> Iterator[Trained]:
        """Trains, or goes on where it was stopped; the weights at the end are the same.

        Args:
            progress: hears of every batch; where it stops the work, the unfinished epoch is left out.

        Yields:
            What there is at the beginning, and after every epoch.

        Raises:
            DataError: if the images are not there.
            ModelError: if the loss becomes NaN or infinite.
        """
        plan = self.plan
        progress.tell(0.0, "loading the images")
        data = training_subset(plan.task, plan.source, plan.images)
        channels, height, width = data.train.x.shape[1:]
        net = build(plan.net, (channels, height, width), len(CLASSES[plan.task]), seed=plan.seed)
        yield Trained(plan, data.text, tuple(self.epochs), self.net)
        for epoch in fit(
            net,
            data.train,
            plan.rule,
            validate=data.held.rows(slice(0, MEASURED)),
            attack={"eps": plan.eps, "alpha": plan.eps / 4, "steps": STEPS},
            checkpoint=self.folder.path / "checkpoint.safetensors",
            progress=progress,
            epochs=plan.epochs,
            lr=plan.lr,
            seed=plan.seed,
            **SETTINGS,
        ):
            if epoch.number > len(self.epochs):
                self.epochs.append(epoch)
            self.net = copy.deepcopy(net).eval().requires_grad_(False)
            yield Trained(plan, data.text, tuple(self.epochs), self.net)


def card(trained: Trained, net: nn.Module, name: str, summary: str) -> dict[str, Any]:
    """What there is to say of a trained net, measured now on held images; ready for JSON and `card_of`.

    Args:
        trained: how it was trained.
        net: the net, which is not changed.
        name: for a person.
        summary: one sentence.
    """
    plan = trained.plan
    held, device = training_subset(plan.task, plan.source, plan.images).held, next(net.parameters()).device
    x, y = held.x.to(device), held.y.to(device)
    robust = pgd_accuracy(net, x[:MEASURED], y[:MEASURED], eps=plan.eps, seed=plan.seed)
    epoch = trained.kept.number
    return {
        "key": f"{plan.task}/own",
        "name": name,
        "summary": summary,
        "architecture": plan.net,
        "dataset": of_task(plan.task).key,
        "input_shape": list(x.shape[1:]),
        "classes": list(CLASSES[plan.task]),
        "parameters": count_parameters(net),
        "rule": {"name": PRESETS[plan.preset].rule, **PRESETS[plan.preset].fixed, **dict(plan.params)},
        "eps": plan.eps,
        "accuracy": clean_accuracy(net, x, y),
        "accuracy_n": len(y),
        "accuracy_note": f"on {len(y):,} held-out images",
        "robust": [asdict(robust) | {"notes": f"{robust.notes}; held-out images"}],
        "training": {"epochs": epoch, "planned": plan.epochs, "lr": plan.lr, **SETTINGS},
        "data": trained.text,
        "seed": plan.seed,
        "command": f"{epoch} epochs on the Defenses page, seed {plan.seed}",
        "licence": "as this repository; trained by it from scratch",
    }
