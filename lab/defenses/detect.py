"""Detectors: how suspicious an image is, above which score it is rejected, and what an attacker who knows both sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lab import devices
from lab.answers import Answer
from lab.defenses.preprocess import FEATURE_SQUEEZING, BitDepth, Median, Preprocessed
from lab.defenses.spec import DefenseSpec
from lab.gate import Around, Usable, check_images, telling, usable
from lab.models.capsnet import CapsNet
from lab.models.cards import Classifier
from lab.params import param
from lab.predict import logits_of
from lab.types import Model, ModelError, Paper, ParamError

Score = Callable[[Model, Tensor], Tensor]
"""(model, images [N,C,H,W]) -> how suspicious each is [N]; higher is more suspicious."""


class Detector(Protocol):
    """A score that knows how it would be attacked best."""

    def __call__(self, model: Model, x: Tensor) -> Tensor:
        """How suspicious images [N,C,H,W] are [N]."""

    def known(self, model: Model, limit: float) -> Guarded:
        """What an attacker attacks who knows this detector and its threshold."""


@dataclass(frozen=True)
class Squeezing:
    """How far the answer moves when the image is squeezed: fewer levels, and a median filter; the larger counts.

    Source: Xu, Evans and Qi 2018, section 5: the L1 distance of the softmax vectors, the maximum over the squeezers.
    """

    bits: int = param(1, bounds=(1, 8), unit="bits", help="Of each value, in the first squeezer.")
    median: int = param(2, bounds=(2, 7), unit="pixels", help="Side of the neighbourhood, in the second.")

    def __call__(self, model: Model, x: Tensor) -> Tensor:
        """Scores [N] in [0,2]."""
        plain = model(x).softmax(1)
        return torch.stack([each(x).softmax(1) - plain for each in self._squeezed(model)]).abs().sum(2).amax(0)

    def known(self, model: Model, limit: float) -> Guarded:
        """All looks are to agree on the wrong class: the score itself is a difference of probabilities, whose gradient
        vanishes where they are sure.

        Source: He et al. 2017, "Adversarial example defenses: ensembles of weak defenses are not strong"; BPDA for the
            bit depth: Athalye, Carlini and Wagner 2018.
        """
        return Guarded(model, self, limit, (model, *self._squeezed(model)))

    def _squeezed(self, model: Model) -> tuple[Model, ...]:
        return Preprocessed(model, BitDepth(self.bits), "bpda"), Preprocessed(model, Median(self.median))


SQUEEZING = DefenseSpec(
    "squeezing",
    "Feature squeezing",
    "How far the answer moves when the image gets fewer levels, or a median filter.",
    (FEATURE_SQUEEZING,),
    Squeezing,
)


@dataclass(frozen=True)
class Reconstruction:
    """How far a capsule network's drawing of the class that it sees is from the image.

    Source: Frosst, Sabour and Hinton 2018, "DARCCC"; Qin et al. 2020, class-conditional reconstruction: L2 distance of
        the image from the reconstruction by the winning capsule.
    """

    def __call__(self, model: Model, x: Tensor) -> Tensor:
        """Distances [N]."""
        net = capsules_of(model)
        here = x.to(devices.of(net, x))
        seen = net.explore(here)
        missed = net.reconstruct(seen.capsules, seen.lengths.argmax(1)) - here
        distance: Tensor = torch.linalg.vector_norm(missed.flatten(1), dim=1)
        return distance.to(x.device)

    def known(self, model: Model, limit: float) -> Guarded:
        """The drawing of the wrong class is to look like the image.

        Source: the reconstructive attack of Qin et al. 2020, "Detecting and diagnosing adversarial images with
            class-conditional capsule reconstructions", section 4.
        """
        return Guarded(model, self, limit)


RECONSTRUCTION = DefenseSpec(
    "reconstruction",
    "Capsule reconstruction",
    "How far a capsule network's drawing of the class that it sees is from the image.",
    (
        Paper(
            "DARCCC: Detecting Adversaries by Reconstruction from Class Conditional Capsules",
            "Frosst, Sabour, Hinton",
            2018,
            "1811.06969",
        ),
        Paper(
            "Detecting and Diagnosing Adversarial Images with Class-Conditional Capsule Reconstructions",
            "Qin, Frosst, Sabour, Raffel, Cottrell, Hinton",
            2020,
            "1907.02957",
        ),
    ),
    Reconstruction,
)


def capsules_of(model: Model) -> CapsNet:
    """The capsule network in a model.

    Raises:
        ModelError: where it is none.
    """
    model = model.model if isinstance(model, Usable) else model
    net = model.net if isinstance(model, Classifier) else model
    if not isinstance(net, CapsNet):
        raise ModelError("reconstruction needs a capsule network, for example mnist/capsnet")
    return net


def scores(detector: Score, model: Model, x: Tensor, rows: int = 256) -> Tensor:
    """How suspicious images [N,C,H,W] are [N], on the CPU, in parts that fit into memory.

    Raises:
        ImageError, ModelError: for images or a model that cannot be used.
    """
    x = check_images(x)
    asking = usable(model, x)
    logits_of(asking, x[:1])  # what answers no logits is refused before it is squeezed
    device = devices.of(asking, x)

    def suspicious(part: Tensor) -> Tensor:
        with telling(part):
            return detector(asking, part.to(device, asking.computed)).cpu()

    with torch.no_grad(), devices.full_precision():
        found = torch.cat(list(devices.in_parts(x, rows, suspicious)))
    if not found.isfinite().all():
        raise ModelError("the model answers NaN or infinity for these images: check its weights and its input range")
    return found


def threshold(clean: Tensor, rate: float) -> float:
    """The score above which an image counts as detected, so that this share of clean images [N] does.

    Raises:
        ParamError: for a share outside of (0,1), or no images.
    """
    if not 0 < rate < 1 or not len(clean):
        raise ParamError(f"a false-positive rate between 0 and 1 and at least one clean image are needed, not {rate:g}")
    return float(clean.double().quantile(1 - rate, interpolation="higher"))


@dataclass(frozen=True)
class Roc:
    """Detection rate against false-positive rate, from the strictest threshold to the laxest, and the area below."""

    false: Tensor
    true: Tensor
    area: float


def roc(clean: Tensor, attacked: Tensor) -> Roc:
    """The ROC curve of scores of clean [N] and attacked [M] images; equal scores make one step.

    Raises:
        ParamError: where there are none of either.
    """
    if not len(clean) or not len(attacked):
        raise ParamError("a ROC curve needs clean and attacked images: the attack fooled none of them")
    cuts = torch.cat([clean, attacked]).double().unique().flip(0)
    false = torch.tensor([0.0, *((clean.double() >= c).double().mean() for c in cuts)], dtype=torch.float64)
    true = torch.tensor([0.0, *((attacked.double() >= c).double().mean() for c in cuts)], dtype=torch.float64)
    return Roc(false, true, float(torch.trapezoid(true, false)))


class Guarded(Around):
    """A model with one class more, "detected": what an attacker looks at who knows the detector and its threshold.

    Its logit is above all others exactly where the score is above the threshold, so that an image which reaches a wrong
    class here passes the detector, too, and every targeted attack of the catalogue applies.

    Source: Carlini and Wagner 2017, "Adversarial examples are not easily detected", section 3.
    Deviation: the extra logit is the largest logit plus `weight` times (score / threshold - 1), instead of a product,
        which needs positive logits.

    Attributes:
        model: what is guarded.
        detector: the score.
        limit: the threshold.
        members: models to be fooled all together; where there are some, an attack ascends the mean of their losses
            instead of this model's own, which still decides on success.
        weight: of the score, in logits per threshold.
    """

    def __init__(
        self, model: Model, detector: Score, limit: float, members: Sequence[Model] = (), weight: float = 10.0
    ) -> None:
        super().__init__(model)
        self.detector, self.limit, self.weight = detector, limit, weight
        self.members = tuple(members)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,K+1]; the last is "detected"."""
        logits = Answer.of(self.model, x).logits
        excess = self.detector(self.model, x) / max(self.limit, 1e-6) - 1
        return torch.cat([logits, (logits.amax(1) + self.weight * excess).unsqueeze(1)], 1)

    def answer(self, x: Tensor) -> Answer:
        """These logits, and those of each member."""
        return Answer(self(x), tuple(each(x) for each in self.members))
