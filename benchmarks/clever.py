"""CLEVER beside the Adversarial Robustness Toolbox's.

    pip install --no-deps --target DIR adversarial-robustness-toolbox==1.20.1 six scikit-learn joblib threadpoolctl
    PYTHONPATH=DIR python -m benchmarks.clever [--images 10] [--batches 50] [--samples 128] [--norms 2,inf] [--whole]

Same model, images, batches, samples and radius for both, untargeted over ten classes, in one process and in turn. ART
draws one pool of ten batches' points and resamples it with replacement: its maxima tie, and its constant is biased low,
so that its scores are a little larger. With --whole its pool is as large as all batches together. Its score is 0 where
its fit lands at infinity; that is told apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np
import torch

import lab

RADII = {1.0: 40.0, 2.0: 5.0, np.inf: 0.1}
"""Radius of the ball, by norm: the paper's in L2, and those of ART's own tests."""
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


def main(argv: Sequence[str]) -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--norms", default="1,2,inf")
    parser.add_argument("--whole", action="store_true")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # ART's own
    beside_art(args.images, args.batches, args.samples, [float(n) for n in args.norms.split(",")], args.whole)


if __name__ == "__main__":
    main(sys.argv[1:])
