"""The capsule network beside a convolutional one, and its drawing as a detector: the figures of the Capsules page.

    LAB_DATA=FOLDER python -m benchmarks.capsules [white] [curves] [detector] [--images 500] [--task mnist]

FOLDER holds the official files; test images are used. white: success of FGSM 0.1 on images that all networks class
right, of FGSM on the squashed lengths too (a weaker gradient), and transfer at 0.3 both ways. curves: accuracy against
epsilon under every attack of the page, and under the worst for each image. detector: the threshold is set on a random
half of the test images 1,000 to 2,999 and measured on the other; AUC and detection rates count the attacked images that
fool the network. `reconstructive` knows the detector.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

import lab
from lab.defenses.detect import Reconstruction, capsules_of
from lab.experiments.capsules import Rivals, Votes, compare, worst_of
from lab.experiments.defenses.attackers import Attackers, Detection, detected
from lab.experiments.robustness.curves import Outcome
from lab.models.capsnet import CapsNet
from lab.predict import classes_of
from lab.statistics import wilson
from lab.types import Model

CLEAN = slice(1000, 3000)
STRONG: Mapping[str, float] = {"mnist": 0.3, "fashion_mnist": 0.1}
WEAK: Mapping[str, float] = {"mnist": 0.1, "fashion_mnist": 0.02}
STEPS = 40
"""Of every attack that iterates; BIM before the detector has 10."""
FEW = 200
"""Images of Carlini-Wagner."""


class Lengths(nn.Module):
    """The lengths of the class capsules in place of logits: what an attack on the paper's own outputs sees."""

    def __init__(self, net: CapsNet) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Lengths [N,K]."""
        return self.net.explore(x).lengths


def told(hits: Tensor) -> str:
    """A share with its 95% interval."""
    low, high = wilson(int(hits.sum()), len(hits))
    return f"{float(hits.double().mean()):.1%} [{low:.1%}, {high:.1%}]"


def white(task: str, images: int) -> None:
    """Success of one gradient step, and transfer, on the images that all networks class right."""
    capsules = lab.load_model(f"{task}/capsnet")
    names = [name for name in ("cnn", "cnn_small") if f"{task}/{name}" in lab.catalog()["models"]]
    others: dict[str, Model] = {name: lab.load_model(f"{task}/{name}") for name in names}
    data = lab.load_data(task, "official_test").rows(slice(0, images))
    judges: dict[str, Model] = {"capsnet": capsules, **others}
    right = torch.stack([classes_of(m, data.x) == data.y for m in judges.values()]).all(0)
    x, y = data.x[right], data.y[right]
    print(f"{task}: {len(x)} of {images} test images that all class right")

    def success(source: Model, judge: Model, attack: str, eps: float) -> Tensor:
        made = lab.attack(attack, source, x, y, eps=eps).x
        return classes_of(judge, made) != y

    weak, strong = WEAK[task], STRONG[task]
    for name, model in judges.items():
        print(f"  FGSM {weak} white box, {name}: {told(success(model, model, 'fgsm', weak))}", flush=True)
    net = capsules_of(capsules)
    print(f"  FGSM {weak} on the squashed lengths: {told(success(Lengths(net), capsules, 'fgsm', weak))}")
    print(f"  FGSM {weak} on the votes: {told(success(Votes(net), capsules, 'fgsm', weak))}", flush=True)
    for attack in ("fgsm", "bim", "mi_fgsm"):
        for name, other in others.items():
            there, back = success(other, capsules, attack, strong), success(capsules, other, attack, strong)
            print(f"  {attack} {strong}: {name} -> capsnet {told(there)}, back {told(back)}", flush=True)


def curves(task: str, images: int) -> None:
    """Accuracy against epsilon, as on the page."""
    capsules = lab.load_model(f"{task}/capsnet")
    rivals = Rivals(capsules, lab.load_model(f"{task}/cnn"), capsules_of(capsules), ("capsnet", "cnn"))
    data = lab.load_data(task, "official_test").rows(slice(0, images))
    sizes = [STRONG[task] * k / 6 for k in range(7)]
    print(f"{task}: accuracy at epsilon {', '.join(f'{e:.3g}' for e in sizes)}; {images} images, {STEPS} steps")

    def line(o: Outcome) -> None:
        print(f"  {o.model:8} {o.attack:9}", *(f"{p.accuracy:7.1%}" for p in o.curve), flush=True)

    told, found = 0, ()
    for found in compare(rivals, data.x, data.y, sizes, steps=STEPS):
        done = [o for o in found if o.complete]
        for o in done[told:]:
            line(o)
        told = len(done)
    for name in rivals.names:
        line(worst_of(found, name))


def detector(task: str, images: int) -> None:
    """How many attacked images the drawing gives away, oblivious and adaptive."""
    model = lab.load_model(f"{task}/capsnet")
    test = lab.load_data(task, "official_test")
    clean, eps = test.rows(CLEAN), STRONG[task]
    plans: Mapping[str, tuple[int, Attackers]] = {
        "fgsm": (images, Attackers("fgsm", {"eps": eps})),
        "bim": (images, Attackers("bim", {"eps": eps, "steps": 10})),
        "pgd": (images, Attackers("pgd", {"eps": eps, "steps": STEPS})),
        "cw": (min(images, FEW), Attackers("cw", {})),
    }
    for name, (count, attackers) in plans.items():
        data = test.rows(slice(0, count))
        known = Reconstruction()
        for report in detected(known, model, clean.x, data.x, data.y, attackers):
            if len(report.trials) == 2:
                detection(f"{name} {eps:g}" if name != "cw" else name, report, "oblivious")
                if name != "pgd":
                    break
            elif len(report.trials) > 2:
                detection(f"reconstructive {eps:g}", report, "adaptive")


def detection(name: str, report: Detection, attacker: str) -> None:
    """One line on one attacker."""
    trial, curve = report.trial(attacker), report.curve(attacker)
    fooled = trial.seen != report.y
    area = "none" if curve is None else f"{curve.area:.3f}"
    caught = "none" if not fooled.any() else told(trial.flagged[fooled])
    print(
        f"  {name}: fools {told(fooled)}; of those detected {caught}, AUC {area}; wrong and undetected "
        f"{told(fooled & ~trial.flagged)}; false positives {report.false:.1%} (threshold {report.limit:.2f} for "
        f"{report.rate:.0%})",
        flush=True,
    )


PARTS: Mapping[str, Callable[[str, int], None]] = {"white": white, "curves": curves, "detector": detector}


def main(argv: Sequence[str]) -> None:
    """Measures the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--task", choices=list(STRONG), default="mnist")
    args = parser.parse_args(argv)
    for part in args.parts:
        PARTS[part](args.task, args.images)


if __name__ == "__main__":
    main(sys.argv[1:])
