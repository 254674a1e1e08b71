"""CLEVER beside the Adversarial Robustness Toolbox's, and beside the smallest distortions that attacks find.

    pip install --no-deps --target DIR adversarial-robustness-toolbox==1.20.1 six scikit-learn joblib threadpoolctl
    PYTHONPATH=DIR python -m benchmarks.clever [--images 10] [--batches 50] [--samples 128] [--norms 2,inf] [--whole]
    python -m benchmarks.clever --attacks [--images 20] [--quick] [--models mnist/mlp,mnist/cnn]
    python -m benchmarks.clever --endpoints

Same model, images, batches, samples and radius for both, untargeted over ten classes, in one process and in turn. ART
draws one pool of ten batches' points and resamples it with replacement: its maxima tie, and its constant is biased low,
so that its scores are a little larger. With --whole its pool is as large as all batches together. Its score is 0 where
its fit lands at infinity; that is told apart. With --attacks, the paper's budget of 500 batches
of 1,024 points instead. With --endpoints, how far the fitted endpoints of 50 batches are from the largest of 400, with
the lab's penalty of the scale and with that of the authors' code.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch

import lab
from lab.experiments.clever import score as method
from lab.experiments.clever.distances import ATTACKS
from lab.experiments.clever.score import PAPER, QUICK, endpoint

RADII = {1.0: 40.0, 2.0: 5.0, np.inf: 0.1}
"""Of the ball, by norm: the paper's in L2, and those of ART's own tests."""
MODEL = "mnist/cnn"


def beside_art(images: int, batches: int, samples: int, norms: Sequence[float], whole: bool) -> None:
    """Prints median scores, their ratio, and the ratio of the times, by norm."""
    from art.estimators.classification import PyTorchClassifier
    from art.metrics import clever_u

    model = lab.load_model(MODEL)
    x = lab.load_data("mnist").x[:images]
    classifier = PyTorchClassifier(
        model, torch.nn.CrossEntropyLoss(), x.shape[1:], len(model.card.classes), clip_values=(0, 1)
    )
    print(f"{MODEL}, {images} images, {batches} batches of {samples}")
    for norm in norms:
        radius = RADII[norm]
        ours, theirs, seconds = [], [], {"lab": 0.0, "art": 0.0}
        for image in x:
            start = time.perf_counter()
            found = lab.clever(model, image[None], norm=norm, batches=batches, samples=samples, radius=radius)
            ours.append(found.scores.item())
            between = time.perf_counter()
            np.random.seed(0)
            pool = batches if whole else 10
            score = clever_u(classifier, image.numpy(), batches, samples, radius, norm, pool_factor=pool, verbose=False)
            theirs.append(float(score))
            seconds["lab"] += between - start
            seconds["art"] += time.perf_counter() - between
        ratios = [a / b for a, b in zip(ours, theirs, strict=True) if b > 1e-3 * radius]
        times = [seconds[who] / images for who in ("lab", "art")]
        print(
            f"  L{norm:g}, radius {radius:g}: lab {statistics.median(ours):.4g}, ART {statistics.median(theirs):.4g}; "
            f"median ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), ART at infinity "
            f"{images - len(ratios)} times; {times[0]:.1f} and {times[1]:.1f} s an image: "
            f"{times[1] / times[0]:.1f} times as fast",
            flush=True,
        )


def under_attacks(images: int, key: str, budget: Mapping[str, int]) -> None:
    """Prints the scores of a budget beside the smallest distortion of any attack, image by image."""
    model = lab.load_model(key)
    x = lab.load_data("mnist").x[:images]
    y = model(x).argmax(1)
    found = [lab.attack(attack, model, x, y) for attack in ATTACKS]
    best = torch.stack([torch.where(r.success, r.distance["l2"], torch.inf) for r in found]).amin(0)
    print(f"{key}, {images} images, {dict(budget)}", flush=True)
    scores, start = [], time.perf_counter()
    for image, distance in zip(x, best.tolist(), strict=True):
        scores.append(lab.clever(model, image[None], **budget).scores.item())
        print(f"  {scores[-1]:.3f} against {distance:.3f}: {scores[-1] / distance:.2f}", flush=True)
    ratios = [score / distance for score, distance in zip(scores, best.tolist(), strict=True)]
    print(
        f"  at or under the best attack on {statistics.mean(r <= 1 for r in ratios):.0%}; median ratio "
        f"{statistics.median(ratios):.2f}; {(time.perf_counter() - start) / images:.0f} s an image"
    )


def endpoints() -> None:
    """Prints how far the endpoints of eight times 50 batches lie above the largest of all 400, and how they scatter."""
    model = lab.load_model(MODEL)
    x = lab.load_data("mnist").x[:1]
    maxima = lab.clever(model, x, batches=400, samples=128).maxima[0].double().numpy()
    ours = method.PENALTY
    for penalty in (ours, 0.01):
        method.PENALTY = penalty
        fitted = [[endpoint(part).location / each.max() - 1 for part in np.split(each, 8)] for each in maxima]
        above, scatter = np.median(fitted), np.median(np.std(fitted, axis=1))
        print(f"penalty {penalty:g}: {above:.1%} above the largest of 400 batches (median), scatter {scatter:.1%}")
    method.PENALTY = ours


def main(argv: Sequence[str]) -> None:
    """Runs one of the two comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", action="store_true")
    parser.add_argument("--endpoints", action="store_true")
    parser.add_argument("--quick", action="store_true", help="the quick budget instead of the paper's")
    parser.add_argument("--models", default=f"mnist/mlp,{MODEL}")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--norms", default="1,2,inf")
    parser.add_argument("--whole", action="store_true")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # ART's own
    if args.endpoints:
        endpoints()
    elif args.attacks:
        for key in args.models.split(","):
            under_attacks(args.images, key, QUICK if args.quick else PAPER)
    else:
        beside_art(args.images, args.batches, args.samples, [float(n) for n in args.norms.split(",")], args.whole)


if __name__ == "__main__":
    main(sys.argv[1:])
