"""An adversarial-robustness lab: attacks, defenses, analysis and training behind a visual front end."""

import os

# Before torch loads OpenMP: threads that wait for work spin some microseconds, then sleep. Without spinning, an attack
# takes a sixth to a half longer on an idle machine; the longer they spin, the slower everything becomes on a busy one.
os.environ.setdefault("GOMP_SPINCOUNT", "4000")

from lab.attacks import CATALOG as _ATTACKS
from lab.attacks import attack
from lab.data import CATALOG as _DATASETS
from lab.data import load_data, load_picture
from lab.defenses.catalog import CATALOG as _TRANSFORMATIONS
from lab.defenses.catalog import DETECTORS as _DETECTORS
from lab.experiments.clever.score import clever
from lab.experiments.transfer.matrix import transfer
from lab.images import Images
from lab.models import CATALOG as _MODELS
from lab.models import load_model
from lab.types import DataError, GoalError, ImageError, LabError, LabWarning, ModelError, ParamError, Result

__all__ = [
    "DataError",
    "GoalError",
    "ImageError",
    "Images",
    "LabError",
    "LabWarning",
    "ModelError",
    "ParamError",
    "Result",
    "attack",
    "catalog",
    "clever",
    "load_data",
    "load_model",
    "load_picture",
    "transfer",
]


def catalog() -> dict[str, list[str]]:
    """The keys of everything the lab has: models, attacks, defenses and data sets, in order."""
    return {
        "models": list(_MODELS),
        "attacks": list(_ATTACKS),
        "defenses": [*_TRANSFORMATIONS, *_DETECTORS],
        "datasets": list(_DATASETS),
    }
