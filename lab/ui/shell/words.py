"""What models and attacks are called on the pages."""

from __future__ import annotations

from lab import attacks
from lab.models.catalog import find_model
from lab.types import ModelError


def name_of(word: str) -> str:
    """The name of the model or attack that has this key; any other word as it is."""
    if word in attacks.CATALOG:
        return attacks.CATALOG[word].name
    try:
        return find_model(word).card().name if "/" in word else word
    except ModelError:
        return word
