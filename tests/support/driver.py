"""The driver with any generator, in place of an attack of the catalogue."""

from __future__ import annotations

from lab.attacks import driver
from lab.attacks.spec import Spec
from lab.types import Access


def run(attack, model, x, goal, *, keep="last", norm=None, access=Access.GRADIENTS, joint=False, **options):
    """The driver's `run`, with what a `Spec` says of an attack given by name."""
    norm = norm or ("l2" if keep == "closest" else "linf")
    spec = Spec("any", "Any", "", "", (), type(attack), keep=keep, norm=norm, access=access, joint=joint)
    return driver.run(spec, attack, model, x, goal, **options)
