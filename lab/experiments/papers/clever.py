"""CLEVER beside the smallest distortions that attacks find, and how well its endpoints repeat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from lab.attacks import attack
from lab.data import load_data
from lab.experiments.clever.distances import ATTACKS
from lab.experiments.clever.score import PAPER, PENALTY, QUICK, clever, endpoint
from lab.experiments.papers.experiment import Bench, Details, Experiment, Figure, share_of
from lab.models.catalog import load_model

MODELS = ("mnist/mlp", "mnist/cnn")
IMAGES = 20
AUTHORS_PENALTY = 0.01
"""Weight of the squared scale in the authors' fit."""


def beside_attacks(bench: Bench) -> Iterator[Figure | Details]:
    """Scores of the paper's budget beside the smallest L2 distortion of any attack, image by image."""
    budget, images = (QUICK, 5) if bench.quick else (PAPER, IMAGES)
    x = load_data("mnist").x[:images]
    for m, key in enumerate(MODELS):
        model = load_model(key)
        results = [attack(name, model, x, model(x).argmax(1), seed=bench.seed) for name in ATTACKS]
        best = torch.stack([torch.where(r.success, r.distance["l2"], torch.inf) for r in results]).amin(0).cpu()
        scores = []
        for k, image in enumerate(x):
            bench.progress.tell((m + k / images) / len(MODELS), key, f"image {k + 1} of {images}")
            score = clever(model, image[None], batches=budget["batches"], samples=budget["samples"], seed=bench.seed)
            scores.append(score.scores.item())
        ratios = torch.tensor(scores) / best
        yield share_of(f"{key}: at or under the best attack", ratios <= 1)
        yield Figure(f"{key}: median of the score over the best attack's distortion", float(ratios.median()))
        yield Details({key: {"scores": scores, "distortions": best.tolist()}})


def endpoints(bench: Bench) -> Iterator[Figure]:
    """How far the endpoints of eight times 50 batches lie above the largest of all 400, and how they scatter."""
    batches = 80 if bench.quick else 400
    model, x = load_model("mnist/cnn"), load_data("mnist").x[:1]
    bench.progress.tell(0.0, f"{batches} batches")
    scored = clever(model, x, batches=batches, samples=128, seed=bench.seed)
    maxima = scored.maxima[0].double().numpy()
    for penalty in (PENALTY, AUTHORS_PENALTY):
        fitted = [
            [endpoint(part, penalty).location / each.max() - 1 for part in np.split(each, batches // 50 or 2)]
            for each in maxima
        ]
        yield Figure(f"penalty {penalty:g}: endpoints above the largest maximum, median", float(np.median(fitted)))
        yield Figure(f"penalty {penalty:g}: scatter of the endpoints", float(np.median(np.std(fitted, axis=1))))


EXPERIMENTS = (
    Experiment(
        "clever",
        "CLEVER beside the smallest distortions that attacks find",
        "Weng et al. 2018",
        beside_attacks,
        MODELS,
        (("mnist", "test"),),
    ),
    Experiment(
        "clever-endpoints",
        "How well CLEVER's fitted endpoints repeat",
        "Weng et al. 2018",
        endpoints,
        ("mnist/cnn",),
        (("mnist", "test"),),
    ),
)
