"""Accuracies under the lab's own AutoAttack, for the cards of the models that the lab trained."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lab.attacks import attack
from lab.experiments.papers.experiment import Bench, Details, Experiment, Figure, share_of
from lab.models.cards import REFERENCE_EPS
from lab.models.catalog import SHIPPED, load_model

IMAGES = 1000
NOTES = "the lab's own AutoAttack, standard version: APGD-CE, APGD-T, FAB-T and Square; seed 0; the first test images"
"""How it was run, as the cards say."""


def measure(key: str, bench: Bench) -> Iterator[Figure | Details]:
    """The share of the first official test images that a model classes right, clean and as attacked."""
    model = load_model(key)
    task = model.card.task
    data, eps = bench.images(task, "official_test", 0, IMAGES), REFERENCE_EPS[task]
    bench.progress.tell(0.0, key)
    result = attack("autoattack", model, data.x, data.y, eps=eps, seed=bench.seed)
    yield share_of(f"accuracy at {eps:g}", ~result.success.cpu())
    for stage in dict.fromkeys(filter(None, result.stage)):
        yield Figure(f"broken by {stage}", float(result.stage.count(stage)))
    yield Details({"eps": eps, "norm": "linf", "notes": NOTES})


EXPERIMENTS = tuple(
    Experiment(
        f"autoattack/{key}",
        f"{key} under AutoAttack",
        "Croce and Hein 2020",
        partial(measure, key),
        (key,),
        ((key.split("/")[0], "official_test"),),
    )
    for key in SHIPPED
)
