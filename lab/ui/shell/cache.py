"""What all sessions share: loaded models, bounded in number."""

from __future__ import annotations

from functools import lru_cache

from lab.models import load_model
from lab.models.cards import Classifier


@lru_cache(maxsize=4)
def model(key: str) -> Classifier:
    """A model, loaded once; the least recently used is let go. Frozen, so sharing it is safe."""
    return load_model(key)
