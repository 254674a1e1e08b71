"""Records as JSON: what a person takes away, in the one form that page, command and store write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def as_json(record: Mapping[str, Any], indent: int = 2) -> str:
    """A record as the text of a JSON file; a number that is not finite is null, for which JSON has no other word."""
    return json.dumps(finite(record), indent=indent, ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """A value with None in place of every number that is not finite, however deep in lists and mappings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, (list, tuple)) else value
