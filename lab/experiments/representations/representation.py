"""An attack, and how far it moves the features of the network on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.experiments.attack import request
from lab.experiments.attack.run import AttackRun
from lab.experiments.representations.activations import Depth, activations, features
from lab.experiments.representations.attribution import attributions
from lab.packed import archive
from lab.types import Model

LOOK_INSIDE = """
from lab.experiments.representations.activations import depth

found = depth(model, x, result.x)
for layer, moved, noise in zip(found.layers, found.attack, found.noise):
    print(f"{layer.name:32} moved by {moved:.1%}, by noise of the same length {noise:.1%}")
"""
"""What follows the Python of an attack to look into the network."""


def ranking(clean: Tensor, attacked: Tensor) -> Tensor:
    """The units of a stage [D] in the order of how much an attack changes their answers, the most changed first."""
    return (attacked - clean).abs().argsort(descending=True, stable=True)


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

    def arrays(self, model: Model, stage: str | None = None) -> bytes:
        """An .npz archive of what the network makes of both pictures, 32-bit floats.

        Of every stage `units/STAGE` [2,D], clean and attacked, maps averaged over their positions, and
        `ranking/STAGE` [D], its units in the order of how much they change, most first; of one stage with maps
        `maps/STAGE` [2,C,H,W]; of every method of attribution `attribution/METHOD` [2,H,W], for the class that is seen;
        `pictures` [2,C,H,W]; of all stages `moved/attack` and `moved/noise` [S], as in the record.

        Args:
            model: that was attacked.
            stage: of which the maps are kept; none where None.
        """
        both = torch.cat([self.run.clean, self.run.attacked])
        found: dict[str, Tensor] = {
            "pictures": both,
            "moved/attack": self.depth.attack,
            "moved/noise": self.depth.noise,
        }
        for name, units in features(model, both).items():
            found[f"units/{name}"] = units
            found[f"ranking/{name}"] = ranking(units[0], units[1])
        if stage is not None:
            found[f"maps/{stage}"] = activations(model, both, [stage])[stage]
        for method, pair in attributions(model, self.run).items():
            found[f"attribution/{method}"] = torch.stack(pair)
        return archive(found)

    def python(self) -> str:
        """A script that computes the same with the package."""
        return f"{request.python(self.run.request)}\n{LOOK_INSIDE}"
