"""Data: bundled samples, bundled photographs, official sets for measuring, and pictures that a person brings."""

from lab.data.catalog import CATALOG, load_data
from lab.data.photographs import load_picture

__all__ = ["CATALOG", "load_data", "load_picture"]
