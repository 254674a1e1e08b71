"""Detectors: how suspicious an image is, from when on it is rejected, and what an attacker sees who knows both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab.defenses.preprocess import Backward, BitDepth, Median, Preprocessed
from lab.models.capsnet import CapsNet
from lab.models.cards import Classifier
from lab.params import param
from lab.types import Model, ModelError, ParamError

Detector = Callable[[Model, Tensor], Tensor]
"""(model, images [N,C,H,W]) -> how suspicious each is [N]; higher is more suspicious."""


@dataclass(frozen=True)
class Squeezing:
    """How far the answer moves when the image is squeezed: fewer levels, and a median filter; the larger counts.

    Source: Xu, Evans and Qi 2018, section 5: the L1 distance of the softmax vectors, the maximum over the squeezers.
    """

    bits: int = param(1, bounds=(1, 8), unit="bits", help="Of each value, in the first squeezer.")
    median: int = param(2, bounds=(2, 7), unit="pixels", help="Side of the neighbourhood, in the second.")
    backward: Backward = "exact"

    def __call__(self, model: Model, x: Tensor) -> Tensor:
        """Scores [N] in [0,2]."""
        plain = model(x).softmax(1)
        squeezers = (BitDepth(self.bits), Median(self.median))
        moved = [Preprocessed(model, squeeze, self.backward)(x).softmax(1) - plain for squeeze in squeezers]
        return torch.stack(moved).abs().sum(2).amax(0)


@dataclass(frozen=True)
class Reconstruction:
    """How far a capsule network's drawing of the class that it sees is from the image.

    Source: Frosst, Sabour and Hinton 2018, "DARCCC"; Qin et al. 2020, class-conditional reconstruction: L2 distance of
        the image from the reconstruction by the winning capsule.
    """

    backward: Backward = "exact"

    def __call__(self, model: Model, x: Tensor) -> Tensor:
        """Distances [N]."""
        net = capsules_of(model)
        seen = net.explore(x)
        missed = net.reconstruct(seen.capsules, seen.lengths.argmax(1)) - x
        distance: Tensor = torch.linalg.vector_norm(missed.flatten(1), dim=1)
        return distance


def capsules_of(model: Model) -> CapsNet:
    """The capsule network in a model.

    Raises:
        ModelError: where it is none.
    """
    net = model.net if isinstance(model, Classifier) else model
    if not isinstance(net, CapsNet):
        raise ModelError("reconstruction needs a capsule network, for example mnist/capsnet")
    return net


def scores(detector: Detector, model: Model, x: Tensor, rows: int = 256) -> Tensor:
    """How suspicious images [N,C,H,W] are [N], on the CPU, in parts that fit into memory."""
    with torch.no_grad():
        return torch.cat([detector(model, part).cpu() for part in x.split(rows)])


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


class Guarded(nn.Module):
    """A model with one class more, "detected": what an attacker looks at who knows the detector and its threshold.

    Its logit is above all others exactly where the score is above the threshold, so that an image which reaches a wrong
    class here passes the detector, too, and every targeted attack of the catalogue applies.

    Source: Carlini and Wagner 2017, "Adversarial examples are not easily detected", section 3.
    Deviation: the extra logit is the largest logit plus `weight` times (score / threshold - 1), instead of a product,
        which needs positive logits.
    """

    def __init__(self, model: Model, detector: Detector, limit: float, weight: float = 10.0) -> None:
        super().__init__()
        self.model, self.detector, self.limit, self.weight = model, detector, limit, weight
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,K+1]; the last is "detected"."""
        logits = self.model(x)
        excess = self.detector(self.model, x) / max(self.limit, 1e-6) - 1
        return torch.cat([logits, (logits.amax(1) + self.weight * excess).unsqueeze(1)], 1)
