"""What commands work on: images of a data set or a file, models of one data set, a class by name."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import lab

if TYPE_CHECKING:
    from lab.images import Images
    from lab.models.cards import Card, Classifier


def load_model(key: str) -> Classifier:
    """A model of the catalogue; what torch says of weights that it fetches goes to the standard error."""
    from lab import models

    with redirect_stdout(sys.stderr):
        return models.load_model(key)


def images_for(card: Card, dataset: str, limit: int, start: int = 0) -> Images:
    """The first images of a data set from one on, fitted to a model.

    Raises:
        ParamError: for a limit below 1, or a start at which the data set has no image.
        DataError: for a data set that the model does not know the classes of.
    """
    from lab import data

    if limit < 1:
        raise lab.ParamError(f"--limit must be at least 1, not {limit}")
    task = data.CATALOG[dataset].task
    if task != card.task:
        raise lab.DataError(f"{card.key} does not know the classes of {dataset}: use a model of {task}/")
    images = data.load_data(dataset, card=card)
    if not 0 <= start < len(images):
        raise lab.ParamError(f"--start must be from 0 to {len(images) - 1}, not {start}")
    return images.rows(slice(start, start + limit))


def together(keys: Sequence[str], dataset: str, limit: int) -> tuple[dict[str, Classifier], Images]:
    """Models of one data set by key, and its images in the size of the largest.

    Raises:
        ParamError: for no models.
        DataError: for models of different data sets.
    """
    from lab.models.catalog import find_model

    cards = [find_model(key).card() for key in keys]
    if not cards:
        raise lab.ParamError("--models needs at least one key, for example mnist/cnn,mnist/softmax")
    if others := [card.key for card in cards if card.task != cards[0].task]:
        raise lab.DataError(f"{others[0]} does not know the classes of {keys[0]}: compare models of one data set")
    images = images_for(max(cards, key=lambda card: card.input_shape[1]), dataset, limit)
    return {key: load_model(key) for key in keys}, images


def find_class(text: str, card: Card) -> int:
    """The number of a class, from its number or name: exactly that name, else one that differs in capitals only.

    Raises:
        GoalError: for a class that does not exist.
    """
    if re.fullmatch(r"-?[0-9]{1,9}", text) and text not in card.classes:
        index = int(text)
        if 0 <= index < len(card.classes):
            return index
        raise lab.GoalError(
            f"class {index} does not exist: {card.name} has {len(card.classes)}, 0 to {len(card.classes) - 1}"
        )
    if text in card.classes:
        return card.classes.index(text)
    alike = [k for k, name in enumerate(card.classes) if name.lower() == text.lower()]
    if not alike:
        raise lab.GoalError(f"{card.name} has no class '{text}': give its name as in the model's list, or its number")
    if len(alike) > 1:
        several = ", ".join(f"{k} {card.classes[k]}" for k in alike)
        raise lab.GoalError(f"'{text}' may be any of {several}: give the name as it is spelt, or the number")
    return alike[0]
