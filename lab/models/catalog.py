"""The models that the lab offers, in order, and how to load them. A new model is added here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from lab import devices
from lab.assets import ASSETS
from lab.images import Fit
from lab.models import imagenet, nets, weights
from lab.models.cards import Card, Classifier, ModelSpec, RobustAccuracy, read_card
from lab.models.trained import is_own, trained_model
from lab.types import ModelError

SHIPPED = (
    "mnist/cnn",
    "mnist/cnn_small",
    "mnist/cnn_pgd_at",
    "mnist/cnn_trades",
    "mnist/cnn_fgsm_at",
    "mnist/cnn_distilled",
    "mnist/cnn_noise",
    "mnist/capsnet",
    "mnist/cnn_half_a",
    "mnist/cnn_half_b",
    "mnist/maxout",
    "mnist/mlp",
    "mnist/rbf",
    "mnist/softmax",
    "fashion_mnist/cnn",
    "fashion_mnist/cnn_pgd_at",
    "fashion_mnist/cnn_trades",
    "fashion_mnist/cnn_fgsm_at",
    "fashion_mnist/cnn_distilled",
    "fashion_mnist/capsnet",
    "fashion_mnist/cnn_half_a",
    "fashion_mnist/cnn_half_b",
    "fashion_mnist/maxout",
    "fashion_mnist/mlp",
    "fashion_mnist/rbf",
    "fashion_mnist/softmax",
)
"""Models that the lab trained itself; weights and card lie in assets/weights."""


def shipped_card(file: Path) -> Card:
    """The card of a model of our own training, from the JSON beside its weights.

    Raises:
        ModelError: where the card is missing, damaged or incomplete.
    """
    details = read_card(file.with_suffix(".json"))
    try:
        return card_of(details)
    except (KeyError, TypeError, IndexError) as e:
        raise ModelError(f"the model card {file.stem}.json is incomplete: restore it from the repository") from e


def card_of(details: Mapping[str, Any]) -> Card:
    """The card of a net that the lab trained, from what its training recorded."""
    shape = tuple(details["input_shape"])
    return Card(
        key=details["key"],
        name=details["name"],
        summary=details["summary"],
        classes=tuple(details["classes"]),
        input_shape=(shape[0], shape[1], shape[2]),
        fit=Fit(shape[1], shape[1], gray=shape[0] == 1, bright_on_dark=shape[0] == 1),
        source=f"trained by the lab: {details['command']}",
        licence=details["licence"],
        bundled=True,
        parameters=details["parameters"],
        accuracy=details["accuracy"],
        accuracy_note=details.get("accuracy_note", f"on the {details['accuracy_n']:,} official test images"),
        robust=tuple(
            RobustAccuracy(
                **{name: r[name] for name in ("attack", "norm", "eps", "accuracy", "n")},
                device=r.get("device", details.get("device", "")),
            )
            for r in details.get("robust", ())
        ),
        details=details,
    )


def load_shipped(file: Path) -> Classifier:
    """A model of our own training.

    Raises:
        ModelError: where card or weights are missing, damaged, or do not belong together.
    """
    card = shipped_card(file)
    net = nets.build(card.details["architecture"], card.input_shape, len(card.classes))
    weights.load_into(net, file)
    return Classifier(net, card)


def _lite(name: str) -> ModelSpec:
    return ModelSpec(f"imagenet/{name}", partial(imagenet.lite_card, name), partial(imagenet.load_lite, name))


def _shipped(key: str) -> ModelSpec:
    file = ASSETS / "weights" / f"{key}.safetensors"
    return ModelSpec(key, cache(partial(shipped_card, file)), partial(load_shipped, file))


def _torchvision(name: str) -> ModelSpec:
    return ModelSpec(
        f"imagenet/{name}", partial(imagenet.torchvision_card, name), partial(imagenet.load_torchvision, name)
    )


MODELS: tuple[ModelSpec, ...] = (
    *map(_lite, imagenet.LITE_SIZES),
    *map(_shipped, SHIPPED),
    *map(_torchvision, imagenet.TORCHVISION),
)
CATALOG: Mapping[str, ModelSpec] = {spec.key: spec for spec in MODELS}
ENDING = ".safetensors"
"""How the name of a weights file ends."""


def name_elsewhere(key: str) -> str:
    """What a model is called where only the catalogue is known: its key, or the file that an own net is saved as."""
    if not is_own(key):
        return key
    return re.sub(r"\W+", "_", find_model(key).card().name.rpartition(": ")[2]).strip("_").lower() + ENDING


def find_model(key: str) -> ModelSpec:
    """The catalogue's entry for a key; any torchvision classifier has one, listed or not, and so has a kept own net.

    The path of a safetensors file with its card beside it is a key, too.

    Raises:
        ModelError: where there is no such model.
    """
    if key in CATALOG:
        return CATALOG[key]
    if (kept := trained_model(key)) is not None:
        return kept
    if str(key).endswith(ENDING):
        file = Path(key)
        return ModelSpec(key, partial(shipped_card, file), partial(load_shipped, file))
    task, _, name = str(key).partition("/")
    if task == "imagenet" and name:
        imagenet.weights_of(name)
        return _torchvision(name)
    raise ModelError(f"there is no model '{key}': the lab has {', '.join(CATALOG)}")


def is_here(key: str) -> bool:
    """Whether a model loads without fetching anything."""
    card = find_model(key).card()
    return card.bundled or imagenet.cached_file(key.split("/")[1]).exists()


@torch.inference_mode(False)
def load_model(key: str) -> Classifier:
    """A model of the catalogue, in eval mode, frozen, on the lab's device, convolutions in channels-last order.

    Args:
        key: e.g. "imagenet/efficientnet_lite0", "mnist/cnn", "imagenet/resnet50"; or the path of a safetensors file
            that was saved on the Defenses page or by `python -m lab train`.

    Returns:
        Images [N,C,H,W] in [0,1] -> logits [N,K]; `.card` says what is known of it.

    Raises:
        ModelError: for an unknown key, weights that cannot be fetched, or a damaged file.

    Example:
        >>> import lab
        >>> model = lab.load_model("mnist/softmax")
        >>> model(lab.load_data("mnist").x[:3]).argmax(1).tolist(), model.card.input_shape
        ([0, 6, 2], (1, 28, 28))
    """
    model = find_model(key).load().to(devices.pick())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub lacks this documented form
    return model
