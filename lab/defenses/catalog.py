"""The defenses that the lab offers, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from lab.defenses.detect import Detector, Reconstruction, Squeezing
from lab.defenses.preprocess import (
    Averaged,
    Backward,
    BitDepth,
    Gaussian,
    Jpeg,
    Median,
    Preprocessed,
    ResizePad,
    TotalVariation,
    Transform,
)
from lab.params import Param, describe, parse
from lab.types import Model, Paper, ParamError

SQUEEZING = Paper(
    "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", "Xu, Evans, Qi", 2018, "1704.01155"
)
COMPRESSION = Paper(
    "A Study of the Effect of JPG Compression on Adversarial Images", "Dziugaite, Ghahramani, Roy", 2016, "1608.00853"
)
COUNTERING = Paper(
    "Countering Adversarial Images using Input Transformations", "Guo, Rana, Cisse, van der Maaten", 2018, "1711.00117"
)
CAPSULES = Paper(
    "DARCCC: Detecting Adversaries by Reconstruction from Class Conditional Capsules",
    "Frosst, Sabour, Hinton",
    2018,
    "1811.06969",
)
DIAGNOSING = Paper(
    "Detecting and Diagnosing Adversarial Images with Class-Conditional Capsule Reconstructions",
    "Qin, Frosst, Sabour, Raffel, Cottrell, Hinton",
    2020,
    "1907.02957",
)
RANDOMIZATION = Paper(
    "Mitigating Adversarial Effects Through Randomization", "Xie, Wang, Zhang, Ren, Yuille", 2018, "1711.01991"
)


@dataclass(frozen=True)
class Spec:
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


CATALOG: Mapping[str, Spec] = {
    spec.key: spec
    for spec in (
        Spec("bit_depth", "Bit depth", "Fewer levels of each value.", (SQUEEZING,), BitDepth, exact=False),
        Spec("jpeg", "JPEG", "Compressed as a JPEG file and opened again.", (COMPRESSION,), Jpeg, exact=False),
        Spec("median", "Median", "The median of each pixel's neighbourhood.", (SQUEEZING,), Median),
        Spec("gaussian", "Gaussian blur", "A Gaussian blur.", (SQUEEZING,), Gaussian),
        Spec("tv", "Total variation", "The nearest image of small total variation.", (COUNTERING,), TotalVariation),
        Spec(
            "resize_pad",
            "Random resize and pad",
            "Scaled down by a random factor, at a random place of a black frame.",
            (RANDOMIZATION,),
            ResizePad,
            random=True,
        ),
    )
}


DETECTORS: Mapping[str, Spec] = {
    spec.key: spec
    for spec in (
        Spec(
            "squeezing",
            "Feature squeezing",
            "How far the answer moves when the image gets fewer levels, or a median filter.",
            (SQUEEZING,),
            Squeezing,
        ),
        Spec(
            "reconstruction",
            "Capsule reconstruction",
            "How far a capsule network's drawing of the class that it sees is from the image.",
            (CAPSULES, DIAGNOSING),
            Reconstruction,
        ),
    )
}
"""Defenses that reject images instead of changing them."""


def find_defense(key: str) -> Spec:
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
    if draws < 1 or (draws > 1 and not find_defense(key).random):
        raise ParamError(f"draws must be 1, or more where the defense is random, not {draws} for {key}")
    behind = Preprocessed(model, transformation(key, seed, **params), backward)
    return behind if draws == 1 else Averaged(behind, draws)


def transformation(key: str, seed: int = 0, **params: Any) -> Transform:
    """A transformation of the catalogue by itself: images [N,C,H,W] -> images; arguments and errors as of `defend`."""
    spec = find_defense(key)
    made = spec.make(**parse(spec.params, params, spec.name))
    transform: Transform = partial(made, rng=torch.Generator().manual_seed(seed)) if spec.random else made
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
