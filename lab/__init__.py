"""An adversarial-robustness lab: attacks, defenses, analysis and training behind a visual front end.

The public names are loaded when they are first asked for: `import lab` by itself loads neither torch nor anything else.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Before torch loads OpenMP: threads that wait for work spin some microseconds, then sleep. Without spinning, an attack
# takes a sixth to a half longer on an idle machine; the longer they spin, the slower everything becomes on a busy one.
os.environ.setdefault("GOMP_SPINCOUNT", "4000")

if TYPE_CHECKING:
    from lab.attacks import attack
    from lab.data import load_data, load_picture
    from lab.defenses.catalog import defend
    from lab.defenses.smoothing import certify
    from lab.experiments.clever.score import clever
    from lab.experiments.robustness.curves import evaluate
    from lab.experiments.robustness.sanity import check
    from lab.experiments.transfer.matrix import transfer
    from lab.images import Images
    from lab.models import load_model
    from lab.models.wrap import wrap
    from lab.types import DataError, GoalError, ImageError, LabError, LabWarning, ModelError, ParamError, Result

__version__ = "0.2.0"

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
    "certify",
    "check",
    "clever",
    "defend",
    "evaluate",
    "load_data",
    "load_model",
    "load_picture",
    "transfer",
    "wrap",
]

_HOMES = {
    "DataError": "lab.types",
    "GoalError": "lab.types",
    "ImageError": "lab.types",
    "Images": "lab.images",
    "LabError": "lab.types",
    "LabWarning": "lab.types",
    "ModelError": "lab.types",
    "ParamError": "lab.types",
    "Result": "lab.types",
    "attack": "lab.attacks",
    "certify": "lab.defenses.smoothing",
    "check": "lab.experiments.robustness.sanity",
    "clever": "lab.experiments.clever.score",
    "defend": "lab.defenses.catalog",
    "evaluate": "lab.experiments.robustness.curves",
    "load_data": "lab.data",
    "load_model": "lab.models",
    "load_picture": "lab.data",
    "transfer": "lab.experiments.transfer.matrix",
    "wrap": "lab.models.wrap",
}
"""The module that each public name comes from."""


def catalog() -> dict[str, list[str]]:
    """The keys of everything the lab has: models, attacks, defenses and data sets, in order.

    Example:
        >>> import lab
        >>> lab.catalog()["datasets"]
        ['photographs', 'mnist', 'fashion_mnist']
    """
    from lab.index import read

    return {kind: list(read()[kind]) for kind in ("models", "attacks", "defenses", "datasets")}


def __getattr__(name: str) -> object:
    """A public name or a module of the package, loaded at its first use."""
    if name in _HOMES:
        found: object = getattr(import_module(_HOMES[name]), name)
    elif name.startswith("_"):
        raise AttributeError(f"module 'lab' has no attribute '{name}'")
    else:
        try:
            return import_module(f"lab.{name}")
        except ModuleNotFoundError as e:
            if e.name != f"lab.{name}":
                raise
            raise AttributeError(f"module 'lab' has no attribute '{name}'") from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
