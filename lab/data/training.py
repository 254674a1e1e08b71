"""What a net of one's own is trained on in the app, and what it is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.data.catalog import load_data, of_task
from lab.data.official import HELD_OUT, has_official, training_images
from lab.data.samples import load_sample
from lab.images import Images
from lab.types import DataError

BUNDLED, OFFICIAL = "bundled", "official"
HELD = 2000
"""Images to measure on; never trained on."""
SIZES: Mapping[str, int] = {"mnist": 8_000, "fashion_mnist": 5_000}
"""Bundled images to train on, by task."""
OFFICIAL_SIZE = 60_000
"""Images of an official training file."""
TEXTS: Mapping[tuple[str, str], str] = {
    ("mnist", BUNDLED): (
        "the first {count:,} of the 8,000 bundled digits of MNIST's official training file; measured on bundled digits "
        "that no net of the lab has seen"
    ),
    ("mnist", OFFICIAL): (
        "the first {count:,} of 58,000 digits of MNIST's official training file (all that the lab does not hold out); "
        "measured on bundled digits that no net of the lab has seen"
    ),
    ("fashion_mnist", BUNDLED): (
        "the first {count:,} of images 5,000 to 9,999 of the official *test* file, because no others come with the "
        "lab: these are no longer unseen by this net. It is measured on the first 2,000 of that file, which it has not "
        "seen"
    ),
    ("fashion_mnist", OFFICIAL): (
        "the first {count:,} of the 60,000 official training images; measured on official test images"
    ),
}
"""What is trained on, for a person: a part of a sentence, with a place for how many."""


@dataclass(frozen=True)
class Subset:
    """Images to train on, images to measure on, and what they are."""

    train: Images
    held: Images
    text: str


def sources(task: str) -> dict[str, int]:
    """Where training images of a task can come from, with how many there are: bundled, or the official files."""
    found = {BUNDLED: SIZES[task]} if task in SIZES else {}
    if has_official(of_task(task).key, "train"):
        found[OFFICIAL] = OFFICIAL_SIZE - len(HELD_OUT.get(task, ()))
    return found


def training_subset(task: str, source: str = BUNDLED, count: int | None = None) -> Subset:
    """The images of a task to train on and, apart from them, those to measure on.

    Args:
        task: "mnist" or "fashion_mnist".
        source: BUNDLED, or OFFICIAL where the original files are there.
        count: how many to train on, the first ones; None for all.

    Raises:
        DataError: for a task or source without training images, or files that are not there.
    """
    if (task, source) not in TEXTS:
        raise DataError(f"there are no {source} training images of '{task}': choose one of {', '.join(SIZES)}")
    held = load_data(of_task(task).key).rows(slice(0, HELD))
    if source == OFFICIAL:
        train = training_images(task)
    elif task == "mnist":
        train = load_sample("mnist_train.npz", "mnist")
    else:
        train = load_data(of_task(task).key).rows(slice(-SIZES[task], None))
    train = train.rows(slice(0, count))
    return Subset(train, held, TEXTS[task, source].format(count=len(train)))
