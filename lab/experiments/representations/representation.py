"""An attack, and how far it moves the features of the network on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.experiments.attack import request
from lab.experiments.attack.run import AttackRun
from lab.experiments.representations.activations import Depth

LOOK_INSIDE = """
from lab.experiments.representations.activations import depth

found = depth(model, x, result.x)
for layer, moved, noise in zip(found.layers, found.attack, found.noise):
    print(f"{layer.name:32} moved by {moved:.1%}, by noise of the same length {noise:.1%}")
"""
"""What follows the Python of an attack to look into the network."""


@dataclass(frozen=True, eq=False)
class Representation:
    """An attack on one image, and the depth profile of the two images."""

    run: AttackRun
    depth: Depth

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return self.run.complete

    def record(self) -> dict[str, Any]:
        """The record of the attack, and the profile stage by stage."""
        return self.run.record() | {"depth": self.depth.record()}

    def rows(self) -> list[dict[str, Any]]:
        """The profile, one row a stage."""
        return [{**stage, "shape": "x".join(map(str, stage["shape"]))} for stage in self.depth.record()]

    def python(self) -> str:
        """A script that computes the same with the package."""
        return f"{request.python(self.run.request)}\n{LOOK_INSIDE}"
