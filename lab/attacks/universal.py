"""A universal perturbation: one and the same change that fools the model on as many images of the batch as it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.attacks.gradient import input_gradient
from lab.attacks.norms import NORMS
from lab.params import param
from lab.types import Goal, Iterate, Model, Steps


@dataclass(frozen=True)
class Universal:
    """Finds one perturbation for all images of the batch by ascending their mean loss.

    An image that is fooled already counts no more once its margin is beyond `confidence`, so the others come to their
    turn; it may fall back and count again.

    Source: Moosavi-Dezfooli et al. 2017 (the perturbation); Shafahi et al. 2020, algorithm 2 (the ascent).
    Deviation: the first paper adds up DeepFool steps, image by image, over the whole set again and again; ascent of the
        whole batch's loss fools more images in far less time. The second caps each image's cross-entropy; this caps
        its margin.
    """

    eps: float = param(
        8 / 255,
        bounds={"linf": (0, 1), "l2": (0, 100)},
        bounds_by="norm",
        unit="(pixels lie in [0,1])",
        pixels=True,
        help="Largest perturbation: at 4/255 each value of 0 to 255 may change by at most 4; in L2, its length.",
    )
    steps: int = param(50, bounds=(1, 1000), help="How many times the mean gradient is followed.")
