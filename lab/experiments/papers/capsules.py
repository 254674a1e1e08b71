"""The capsule network beside convolutional ones, and its drawing as a detector, on official test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from lab.attacks import attack
from lab.defenses.detect import Reconstruction, capsules_of
from lab.experiments.capsules.rivals import Rivals, Votes, compare, worst_of
from lab.experiments.defenses.attackers import Attackers, detected
from lab.experiments.papers.defenses import of_detection
from lab.experiments.papers.experiment import Bench, Experiment, Figure, share_of
from lab.models.capsnet import CapsNet
from lab.models.cards import REFERENCE_EPS
from lab.models.catalog import SHIPPED, load_model
from lab.predict import classes_of
from lab.types import Model

WEAK: Mapping[str, float] = {"mnist": 0.1, "fashion_mnist": 0.02}
STEPS = 40
"""Steps of every attack that iterates; BIM before the detector has 10."""
IMAGES = 500
CW_IMAGES = 200
"""Images that Carlini-Wagner attacks."""


class Lengths(nn.Module):
    """The lengths of the class capsules in place of logits: what an attack on the paper's own outputs sees."""

    def __init__(self, net: CapsNet) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Lengths [N,K]."""
        return self.net.explore(x).lengths


def rivals_of(task: str) -> tuple[str, ...]:
    """Keys of the convolutional nets beside the capsule network."""
    return tuple(key for key in (f"{task}/cnn", f"{task}/cnn_small") if key in SHIPPED)


def one_step(task: str, bench: Bench) -> Iterator[Figure]:
    """Success of one gradient step, and transfer both ways, on the images that all networks class right."""
    capsules = load_model(f"{task}/capsnet")
    others: dict[str, Model] = {key: load_model(key) for key in rivals_of(task)}
    data = bench.images(task, "official_test", 0, IMAGES)
    judges: dict[str, Model] = {f"{task}/capsnet": capsules, **others}
    right = torch.stack([classes_of(m, data.x) == data.y for m in judges.values()]).all(0)
    x, y = data.x[right], data.y[right]

    def success(source: Model, judge: Model, key: str, eps: float) -> Tensor:
        return classes_of(judge, attack(key, source, x, y, eps=eps, seed=bench.seed).x) != y

    weak, strong, net = WEAK[task], REFERENCE_EPS[task], capsules_of(capsules)
    for name, model in judges.items():
        bench.progress.tell(0.0, name)
        yield share_of(f"FGSM {weak:g} white box on {name}", success(model, model, "fgsm", weak))
    yield share_of(f"FGSM {weak:g} on the squashed lengths", success(Lengths(net), capsules, "fgsm", weak))
    yield share_of(f"FGSM {weak:g} on the votes", success(Votes(net), capsules, "fgsm", weak))
    for k, key in enumerate(("fgsm", "bim", "mi_fgsm")):
        for name, other in others.items():
            bench.progress.tell((k + 1) / 4, key, name)
            yield share_of(f"{key} {strong:g}, {name} to the capsules", success(other, capsules, key, strong))
            yield share_of(f"{key} {strong:g}, the capsules to {name}", success(capsules, other, key, strong))


def curves(task: str, bench: Bench) -> Iterator[Figure]:
    """Accuracy against epsilon under every attack of the Capsules page, and under the worst for each image."""
    keys = (f"{task}/capsnet", f"{task}/cnn")
    capsules = load_model(keys[0])
    rivals = Rivals(capsules, load_model(keys[1]), capsules_of(capsules), keys)
    data = bench.images(task, "official_test", 0, IMAGES)
    sizes = [REFERENCE_EPS[task] * k / 6 for k in range(7)]
    *_, outcomes = compare(rivals, data.x, data.y, sizes, steps=STEPS, progress=bench.progress)
    for outcome in (*outcomes, *(worst_of(outcomes, key) for key in keys)):
        for p in outcome.curve:
            what = f"{outcome.model} under {outcome.attack} at {p.eps:.3g}: accuracy"
            yield Figure(what, p.accuracy, p.low, p.high, len(outcome.right))


def drawing(task: str, bench: Bench) -> Iterator[Figure]:
    """How many attacked images the drawing gives away, under attackers who know of it or not."""
    model, eps = load_model(f"{task}/capsnet"), REFERENCE_EPS[task]
    clean = bench.images(task, "official_test", 1000, 3000)
    plans: Mapping[str, tuple[int, Attackers]] = {
        "FGSM": (IMAGES, Attackers("fgsm", {"eps": eps})),
        "BIM": (IMAGES, Attackers("bim", {"eps": eps, "steps": 10})),
        "PGD": (IMAGES, Attackers("pgd", {"eps": eps, "steps": STEPS})),
        "C&W": (CW_IMAGES, Attackers("cw", {})),
    }
    for k, (name, (count, attackers)) in enumerate(plans.items()):
        bench.progress.tell(k / len(plans), name)
        data = bench.images(task, "official_test", 0, count)
        *_, detection = detected(Reconstruction(), model, clean.x, data.x, data.y, attackers)
        yield from of_detection(name, detection)


MEASURED = {
    "capsules": ("A capsule network and convolutional ones under one step, and transfer", one_step),
    "capsules-curves": ("Accuracy of a capsule network against epsilon", curves),
    "capsules-drawing": ("A capsule network's drawing as a detector", drawing),
}
EXPERIMENTS = tuple(
    Experiment(
        id if task == "mnist" else f"{id}/{task}",
        title,
        "Sabour et al. 2017; Qin et al. 2020",
        partial(measure, task),
        (f"{task}/capsnet", *rivals_of(task)),
        ((task, "official_test"),),
    )
    for id, (title, measure) in MEASURED.items()
    for task in REFERENCE_EPS
)
