"""Accuracies under PGD with restarts, for the cards of the models that the lab trained."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lab.experiments.papers.experiment import Bench, Details, Experiment, Figure
from lab.models.catalog import SHIPPED, find_model, load_model
from lab.statistics import wilson
from lab.training.measure import pgd_accuracy


def sizes(key: str) -> dict[float, int]:
    """The epsilons that a model's card tells, and on how many images each was measured."""
    return {r.eps: r.n for r in find_model(key).card().robust if (r.attack, r.norm) == ("pgd", "linf")}


def measure(key: str, bench: Bench) -> Iterator[Figure | Details]:
    """The share of the first official test images that a model classes right, whatever PGD makes of them."""
    net, task, told = load_model(key), key.split("/")[0], sizes(key)
    for k, (eps, n) in enumerate(told.items()):
        bench.progress.tell(k / len(told), key, f"epsilon {eps:g}")
        data = bench.images(task, "official_test", 0, n)
        found = pgd_accuracy(net, data.x, data.y, eps=eps, seed=bench.seed)
        low, high = wilson(round(found.accuracy * found.n), found.n)
        yield Figure(f"accuracy at {eps:g}", found.accuracy, low, high, found.n)
        yield Details({f"{eps:g}": found.notes})


EXPERIMENTS = tuple(
    Experiment(
        f"pgd/{key}",
        f"{key} under PGD with restarts",
        "Madry et al. 2018",
        partial(measure, key),
        (key,),
        ((key.split("/")[0], "official_test"),),
    )
    for key in SHIPPED
    if sizes(key)
)
