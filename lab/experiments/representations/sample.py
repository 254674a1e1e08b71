"""Some hundred labelled images, and what every stage of a network answers for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lab.data import load_data
from lab.data.catalog import of_task
from lab.data.photographs import crops, with_label
from lab.experiments.representations.activations import features
from lab.experiments.representations.follow import TOGETHER, joined
from lab.images import Images
from lab.models.cards import Card
from lab.progress import SILENT, Progress
from lab.types import Model

MOST = 1000
"""Images of a data set that are looked at."""


@dataclass(frozen=True)
class Sample:
    """Labelled images, and what every stage of a network answers for them.

    Attributes:
        features: by stage [N,D].
        labels: int64 [N].
        pictures: the images as bytes [N,h,w,C], small.
    """

    features: Mapping[str, Tensor]
    labels: Tensor
    pictures: Tensor


def sample(model: Model, card: Card, shrink: Callable[[Tensor], Tensor], *, progress: Progress = SILENT) -> Sample:
    """Shows a network the images of its data set; to one of ImageNet, crops of the bundled photographs.

    Args:
        model: a network.
        card: of the model.
        shrink: an image [C,H,W] -> what is kept of it, bytes [h,w,C].
        progress: hears of every part of the set.

    Raises:
        Cancelled: where the work is to stop.
    """
    loads = _parts(card)
    answers, labels, pictures = [], [], []
    for k, load in enumerate(loads):
        progress.tell(k / len(loads), f"part {k + 1} of {len(loads)}")
        images = load()
        answers.append(features(model, images.x))
        labels.append(images.y)
        pictures.append(torch.stack([shrink(x) for x in images.x]))
    return Sample(joined(answers), torch.cat(labels), torch.cat(pictures))


def _parts(card: Card) -> list[Callable[[], Images]]:
    """What loads the images, a few at a time."""
    if card.task == "imagenet":
        return [partial(crops, photograph, card.fit) for photograph in with_label()]
    data = load_data(of_task(card.task).key, card=card)
    return [partial(data.rows, slice(k, k + TOGETHER)) for k in range(0, MOST, TOGETHER)]
