"""Writes lab/index.json, from which the command line knows what there is before it loads torch.

    python -m scripts.build_index

To be run after a model, an attack, a defense or a data set was added, or a parameter changed; a test says so.
"""

from __future__ import annotations

import json
from typing import Any

from lab.attacks.catalog import CATALOG as ATTACKS
from lab.data.catalog import CATALOG as DATASETS
from lab.defenses.catalog import CATALOG as TRANSFORMATIONS
from lab.defenses.catalog import DETECTORS
from lab.experiments.clever.score import PAPER, QUICK
from lab.index import FILE
from lab.models.catalog import CATALOG as MODELS
from lab.params import Param


def build() -> str:
    """The index as JSON, from the catalogues themselves."""
    index = {
        "models": list(MODELS),
        "attacks": list(ATTACKS),
        "defenses": [*TRANSFORMATIONS, *DETECTORS],
        "datasets": list(DATASETS),
        "parameters": {key: {p.name: describe(p) for p in spec.params} for key, spec in ATTACKS.items()},
        "clever": {"paper": PAPER, "quick": QUICK},
    }
    return json.dumps(index, indent=1) + "\n"


def describe(p: Param) -> dict[str, Any]:
    """One parameter for a reader of JSON."""
    return {"default": p.default, "range": p.bounds, "choices": p.choices or None, "help": p.help}


if __name__ == "__main__":
    FILE.write_text(build(), encoding="utf-8")
