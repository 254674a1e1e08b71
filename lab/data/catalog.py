"""The data sets that the lab offers, in order. Each one's SPEC stands in its own file; a new data set is added here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch

from lab.data import photographs, samples
from lab.data.official import load_official
from lab.data.spec import DataSpec
from lab.images import Fit, Images
from lab.models.cards import Card
from lab.types import DataError

SQUARE_224 = Fit(256, 224, "bicubic")


TASKS: Mapping[str, str] = {"imagenet": "ImageNet", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
"""What the tasks that models are trained for are called."""


DATASETS: tuple[DataSpec, ...] = (photographs.SPEC, samples.MNIST, samples.FASHION_MNIST)
CATALOG: Mapping[str, DataSpec] = {spec.key: spec for spec in DATASETS}


def find_dataset(key: str) -> DataSpec:
    """The data set of that key.

    Raises:
        DataError: where there is none.
    """
    if key not in CATALOG:
        raise DataError(f"there is no data set '{key}': the lab has {', '.join(CATALOG)}")
    return CATALOG[key]


def of_task(task: str) -> DataSpec:
    """The data set whose images the models of a task class."""
    return next(spec for spec in CATALOG.values() if spec.task == task)


def load_data(key: str, split: str = "test", *, card: Card | None = None, device: torch.device | str = "cpu") -> Images:
    """Labelled images of a data set.

    Args:
        key: "photographs", "mnist" or "fashion_mnist".
        split: "test" comes with the lab and no bundled model has seen it; "official_train" and "official_test" are the
            original files of MNIST and Fashion-MNIST, read from the folder that LAB_DATA names, or from data/.
        card: fit photographs to this model's input instead of 224 x 224.
        device: where x and y are to lie.

    Returns:
        x float32 [N,C,H,W] in [0,1], y int64 [N], and one id per image.

    Raises:
        DataError: for an unknown key or split, or files that are not there.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist")
        >>> len(digits), digits.x.shape[1:], digits.ids[0]
        (2000, torch.Size([1, 28, 28]), 'mnist-8000')
    """
    spec = find_dataset(key)
    splits = {"test": partial(spec.test, card.fit if card else SQUARE_224)}
    if spec.official:
        splits |= {f"official_{part}": partial(load_official, key, part) for part in ("train", "test")}
    if split not in splits:
        raise DataError(f"{key} has no split '{split}': it has {', '.join(splits)}")
    found = splits[split]()
    return replace(found, x=found.x.to(device), y=found.y.to(device))
