"""What the lab has, known without loading any of it: `index.json`, which `scripts/build_index.py` writes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("index.json")


@cache
def read() -> dict[str, Any]:
    """The keys of models, attacks, defenses and data sets; the parameters of every attack; CLEVER's budgets."""
    index: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return index
