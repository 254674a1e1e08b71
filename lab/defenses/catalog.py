"""The defenses that the lab offers, in order. Each one's SPEC stands in its own file; a new defense is added here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.defenses import detect, preprocess
from lab.defenses.detect import Detector
from lab.defenses.preprocess import Backward, Drawn, Preprocessed, Transform
from lab.defenses.spec import DefenseSpec
from lab.gate import Averaged, check_seed, check_whole
from lab.params import parse
from lab.types import Model, ParamError

TRANSFORMATIONS: tuple[DefenseSpec, ...] = (
    preprocess.BIT_DEPTH,
    preprocess.JPEG,
    preprocess.MEDIAN,
    preprocess.GAUSSIAN,
    preprocess.TOTAL_VARIATION,
    preprocess.RESIZE_PAD,
)
"""Defenses that change the image."""
CATALOG: Mapping[str, DefenseSpec] = {spec.key: spec for spec in TRANSFORMATIONS}
DETECTORS: Mapping[str, DefenseSpec] = {spec.key: spec for spec in (detect.SQUEEZING, detect.RECONSTRUCTION)}
"""Defenses that reject images instead of changing them."""


def find_defense(key: str) -> DefenseSpec:
    """The spec of a key.

    Raises:
        ParamError: for an unknown one.
    """
    if key not in CATALOG:
        raise ParamError(f"there is no defense '{key}': the lab has {', '.join(CATALOG)}")
    return CATALOG[key]


def defend(
    key: str, model: Model, *, backward: Backward = "exact", draws: int = 1, seed: int = 0, **params: Any
) -> Model:
    """A model behind a transformation of its input: still a model, which every attack and measure applies to.

    Args:
        key: of the catalogue.
        model: images -> logits; not changed.
        backward: "exact" for the transformation's own derivative, "bpda" for the identity in its place.
        draws: where the transformation is random, how many looks are averaged (EOT).
        seed: of a random transformation; its looks differ, their sequence is the same.
        **params: of the transformation; numbers may be text.

    Raises:
        ParamError: for an unknown key or parameter, or a value out of range.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 4))
        >>> model = lab.defend("bit_depth", lab.load_model("mnist/softmax"), backward="bpda", bits=1)
        >>> lab.attack("fgsm", model, digits.x, digits.y, eps=0.6).success.tolist()
        [True, True, True, True]
    """
    check_whole(draws, "draws")
    if draws > 1 and not find_defense(key).random:
        raise ParamError(f"draws must be 1, or more where the defense is random, not {draws} for {key}")
    behind = Preprocessed(model, transformation(key, seed, **params), backward)
    return behind if draws == 1 else Averaged(behind, draws)


def transformation(key: str, seed: int = 0, **params: Any) -> Transform:
    """A transformation of the catalogue by itself: images [N,C,H,W] -> images; arguments and errors as of `defend`."""
    spec, seed = find_defense(key), check_seed(seed)
    made = spec.make(**parse(spec.params, params, spec.name))
    transform: Transform = Drawn(made, seed) if spec.random else made
    return transform


def detector(key: str, **params: Any) -> Detector:
    """A detector of the catalogue.

    Raises:
        ParamError: for an unknown key or parameter, or a value out of range.
    """
    if key not in DETECTORS:
        raise ParamError(f"there is no detector '{key}': the lab has {', '.join(DETECTORS)}")
    made: Detector = DETECTORS[key].make(**parse(DETECTORS[key].params, params, DETECTORS[key].name))
    return made
