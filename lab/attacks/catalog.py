"""The attacks that the lab offers, in order. Each one's `SPEC` stands in its own file; a new attack is added here."""

from __future__ import annotations

from collections.abc import Mapping

from lab.attacks import (
    apgd,
    auto,
    black_box,
    cw,
    deepfool,
    fab,
    fgsm,
    fmn,
    hopskipjump,
    jsma,
    lbfgs,
    pixel,
    spatial,
    square,
    universal,
)
from lab.attacks.spec import Spec
from lab.types import ParamError

ATTACKS: tuple[Spec, ...] = (
    *fgsm.SPECS,
    deepfool.SPEC,
    lbfgs.SPEC,
    cw.SPEC,
    fmn.SPEC,
    jsma.SPEC,
    square.SPEC,
    apgd.SPEC,
    fab.SPEC,
    auto.SPEC,
    black_box.SPSA,
    black_box.NES,
    hopskipjump.SPEC,
    pixel.SPEC,
    spatial.SPEC,
    universal.SPEC,
    fgsm.EVERY_KNOB,
)
CATALOG: Mapping[str, Spec] = {spec.key: spec for spec in ATTACKS}


def find_attack(key: str) -> Spec:
    """The attack of that key.

    Raises:
        ParamError: where there is none.
    """
    if key not in CATALOG:
        raise ParamError(f"there is no attack '{key}': the lab has {', '.join(CATALOG)}")
    return CATALOG[key]
