"""What all sessions share: loaded models, bounded in number, and the images that they are measured on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from functools import lru_cache

from lab.data import load_data
from lab.data.catalog import of_task
from lab.images import Images
from lab.models import imagenet, load_model
from lab.models.cards import Classifier
from lab.models.catalog import find_model, is_here
from lab.progress import SILENT, Progress

POLL_SECONDS = 0.25
"""Seconds between two looks at how much of a file has been fetched."""


@lru_cache(maxsize=4)
def _model(key: str) -> Classifier:
    return load_model(key)


def model(key: str, progress: Progress = SILENT) -> Classifier:
    """A model, loaded once; the least recently used is let go. Frozen, so sharing it is safe.

    Args:
        key: of the model.
        progress: hears how much is fetched, where the weights have to be fetched.

    Raises:
        ModelError: as `lab.load_model`.
        Cancelled: where the work is to stop.
    """
    if is_here(key):
        progress.tell(0.0, key, "loading the model")
        return _model(key)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(_model, key)
        while True:
            try:
                return fetching.result(POLL_SECONDS)
            except NotYet:
                progress.tell(imagenet.fetched(key.split("/")[1]), key, "fetching the weights")


def models(keys: Sequence[str], progress: Progress = SILENT) -> dict[str, Classifier]:
    """Several models by key, in this order; arguments and errors as in `model`."""
    return {key: model(key, progress.part(k / len(keys), (k + 1) / len(keys))) for k, key in enumerate(keys)}


def first_images(keys: Collection[str], count: int | None = None) -> Images:
    """The first images of the data set that these models know, in the size of the largest; all where None."""
    largest = max((find_model(key).card() for key in keys), key=lambda card: card.input_shape[1])
    data = load_data(of_task(largest.task).key, card=largest)
    return data if count is None else data.rows(slice(0, count))
