"""The data sets by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from lab.data.official import load_official
from lab.data.photographs import labelled
from lab.data.samples import load_sample
from lab.images import Fit, Images
from lab.models.cards import Card
from lab.types import DataError

SQUARE_224 = Fit(256, 224, "bicubic")


TASKS: Mapping[str, str] = {"imagenet": "ImageNet", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
"""What the tasks that models are trained for are called."""


@dataclass(frozen=True)
class DataSpec:
    """One data set of the catalogue.

    Attributes:
        key: its name in code and links.
        name: its name for a person.
        task: the label space; models of this task class these images.
        summary: what the bundled "test" split holds.
        test: loads that split, fitted to a model where the pictures have no fixed size.
        official: whether the splits "official_train" and "official_test" exist; they read the original files.
    """

    key: str
    name: str
    task: str
    summary: str
    test: Callable[[Fit], Images]
    official: bool


def _sample(file: str, prefix: str) -> Callable[[Fit], Images]:
    def load(fit: Fit) -> Images:
        kept = load_sample(file, prefix)
        return Images(kept.x.clone(), kept.y.clone(), kept.ids)  # the caller's own, whatever becomes of it

    return load


CATALOG: Mapping[str, DataSpec] = {
    spec.key: spec
    for spec in (
        DataSpec(
            key="photographs",
            name="Photographs",
            task="imagenet",
            summary="Bundled photographs of ImageNet classes, fitted to the model (224 x 224 unless one is named).",
            test=labelled,
            official=False,
        ),
        DataSpec(
            key="mnist",
            name="MNIST",
            task="mnist",
            summary="2,000 handwritten digits of MNIST's training file, held out of every bundled model's training.",
            test=_sample("mnist_heldout.npz", "mnist"),
            official=True,
        ),
        DataSpec(
            key="fashion_mnist",
            name="Fashion-MNIST",
            task="fashion_mnist",
            summary="The 10,000 official test images of Fashion-MNIST.",
            test=_sample("fashion_mnist_test.npz", "fashion_mnist"),
            official=True,
        ),
    )
}


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


def load_data(key: str, split: str = "test", *, card: Card | None = None) -> Images:
    """Labelled images of a data set.

    Args:
        key: "photographs", "mnist" or "fashion_mnist".
        split: "test" comes with the lab and no bundled model has seen it; "official_train" and "official_test" are the
            original files of MNIST and Fashion-MNIST, read from the folder that LAB_DATA names, or from data/.
        card: fit photographs to this model's input instead of 224 x 224.

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
    return splits[split]()
