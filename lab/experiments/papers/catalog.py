"""The experiments that can be reproduced, in order."""

from __future__ import annotations

from collections.abc import Mapping

from lab.experiments.papers import autoattack, capsules, clever, defenses, pgd, szegedy, training, transfer
from lab.experiments.papers.experiment import Experiment
from lab.types import ParamError

CATALOG: Mapping[str, Experiment] = {
    experiment.id: experiment
    for module in (szegedy, transfer, clever, defenses, capsules, training, pgd, autoattack)
    for experiment in module.EXPERIMENTS
}


def find_experiment(id: str) -> Experiment:
    """The experiment of an id.

    Raises:
        ParamError: where there is none.
    """
    if id not in CATALOG:
        raise ParamError(f"there is no experiment '{id}': the lab has {', '.join(CATALOG)}")
    return CATALOG[id]
