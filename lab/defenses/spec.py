"""What the lab knows of a defense beside its code; each one's stands in its own file, below the defense."""

from __future__ import annotations

from dataclasses import dataclass

from lab.params import Param, describe
from lab.types import Paper


@dataclass(frozen=True)
class DefenseSpec:
    """One transformation of the input, or one detector.

    Attributes:
        key: its name in code.
        name: its name for a person.
        summary: one sentence on what it does.
        papers: where it was proposed as a defense.
        make: the dataclass that is the transformation, or the detector.
        exact: whether its own gradient tells anything; else only BPDA does.
        random: whether every look at an image differs; then an attacker averages (EOT).
    """

    key: str
    name: str
    summary: str
    papers: tuple[Paper, ...]
    make: type
    exact: bool = True
    random: bool = False

    @property
    def params(self) -> tuple[Param, ...]:
        """The parameters that a person may set, in order."""
        return describe(self.make, {})
