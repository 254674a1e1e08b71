"""What the lab knows of a data set; each one's stands in its own file, beside what loads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.images import Fit, Images


@dataclass(frozen=True)
class DataSpec:
    """One data set of the catalogue.

    Attributes:
        key: its name in code and links.
        name: its name for a person.
        task: the label space; models of this task class these images.
        summary: what the bundled "test" split holds.
        test: loads that split, fitted to a model where the pictures have no fixed size.
        official: whether the splits "official_train" and "official_test" exist; they read the original files.
    """

    key: str
    name: str
    task: str
    summary: str
    test: Callable[[Fit], Images]
    official: bool
