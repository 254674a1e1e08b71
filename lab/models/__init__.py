"""Models: the networks, where their weights come from, and their catalogue."""

from lab.models.catalog import CATALOG, load_model

__all__ = ["CATALOG", "load_model"]
