"""What is checked before an attack starts; every error says what was expected and what came."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from lab.types import Goal, GoalError, ImageError, LabWarning, ModelError, ParamError

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""The dtypes that labels may have."""


def check_model(model: object) -> None:
    """Raises ModelError unless the model can be called."""
    if not callable(model):
        raise ModelError(f"a model must be callable, images to logits, not {type(model).__name__}: use lab.load_model")


def check_seed(seed: object) -> int:
    """The seed, if it is one.

    Raises:
        ParamError: unless it is a whole number from 0 to 2^64-1.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**64:
        raise ParamError(f"seed must be a whole number between 0 and 2^64-1, not {seed!r}")
    return int(seed)


def check_logits(logits: object, rows: int, goal: Goal) -> None:
    """Raises ModelError or GoalError unless these are logits [rows,K] that the goal can be asked of."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != rows:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"the model must answer one row of logits per image, [{rows}, classes], but answered {got}")
    classes = logits.shape[1]
    if classes < 2:
        raise ModelError(
            "the model has one class only, so there is nothing to confuse it with: use one with two or more"
        )
    if not logits.isfinite().all():
        raise ModelError("the model answers NaN or infinity for these images: check its weights and its input range")
    highest = int(goal.labels.max())
    if highest >= classes:
        what = "target" if goal.targeted else "label"
        raise GoalError(f"{what} {highest} does not exist: the model has {classes} classes, 0 to {classes - 1}")


def warn_of_probabilities(logits: Tensor) -> None:
    """Warns where a model's answers [N,K] look like probabilities."""
    with torch.no_grad():
        if (logits >= 0).all() and (logits.sum(1) - 1).abs().max() < 1e-4:
            message = "the model seems to answer probabilities; attacks expect logits, so leave out the softmax"
            warnings.warn(message, LabWarning, stacklevel=2)


def check_images(x: object) -> Tensor:
    """The images, detached, if they are a batch that can be attacked.

    Raises:
        ImageError: unless x is a floating-point tensor [N,C,H,W], finite and within [0,1].
    """
    if not isinstance(x, Tensor):
        raise ImageError(f"images must be a tensor [N,C,H,W], not {type(x).__name__}")
    if x.dim() != 4:
        raise ImageError(f"images must have the shape [N,C,H,W], not {list(x.shape)}")
    if not x.is_floating_point():
        raise ImageError(f"images must be floating point in [0,1], not {x.dtype}: divide bytes by 255")
    if x.numel() == 0 and len(x):
        raise ImageError(f"images of shape {list(x.shape[1:])} have no pixels")
    if x.numel():
        if not x.isfinite().all():
            raise ImageError("images contain NaN or infinity")
        low, high = x.min().item(), x.max().item()
        if low < 0 or high > 1:
            raise ImageError(f"pixels must lie in [0,1], but these span [{low:g}, {high:g}]")
    return x.detach()


def check_labels(labels: object, x: Tensor, what: str) -> Tensor:
    """The labels as int64 [N] on x's device; one number stands for all images.

    Raises:
        GoalError: unless there is one whole, non-negative number per image.
    """
    try:
        if isinstance(labels, Integral) and not isinstance(labels, bool):
            labels = torch.full((len(x),), int(labels))
        if isinstance(labels, Sequence) and not isinstance(labels, str):
            labels = torch.as_tensor(labels) if len(labels) else torch.zeros(0, dtype=torch.int64)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        raise GoalError(f"{what}s must be whole numbers, one per image, not {type(labels).__name__}") from None
    if not isinstance(labels, Tensor) or labels.dtype not in WHOLE:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise GoalError(f"{what}s must be whole numbers, one per image, not {got}")
    if labels.shape != (len(x),):
        raise GoalError(f"{what}s must have the shape [{len(x)}], one per image, not {list(labels.shape)}")
    if len(labels) and int(labels.min()) < 0:
        raise GoalError(f"{what} {int(labels.min())} does not exist: classes are numbered from 0")
    return labels.to(device=x.device, dtype=torch.int64)


def make_goal(x: Tensor, y: object, target: object = None) -> Goal:
    """The goal for images x [N,C,H,W]: to leave the classes y, or to reach the target classes.

    Raises:
        GoalError: for labels that do not fit, or a target that is the label already.
    """
    labels = check_labels(y, x, "label")
    if target is None:
        return Goal(labels)
    targets = check_labels(target, x, "target")
    same = (targets == labels).nonzero().flatten().tolist()
    if same:
        raise GoalError(f"the target of image {same[0]} is its own class {int(labels[same[0]])}: choose another class")
    return Goal(targets, targeted=True)
