"""The one door to torchvision, and the guard that lets it load beside a CPU build of torch.

torchvision's wheel from PyPI is linked against CUDA. Beside a CPU build of torch its binary operators do not load, and
the import stops because their schemas are missing. The lab uses only models, transforms and data sets, which need none
of these operators, so declaring the schemas is enough.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from types import ModuleType

import torch

# torch.hub would unpickle whatever a weights file holds; with this, torch.load reads tensors only.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []


@cache
def torchvision() -> ModuleType:
    """torchvision, imported at first use."""
    try:
        import torchvision
    except RuntimeError as e:
        if "torchvision::" not in str(e):
            raise
        _declare()
        import torchvision
    module: ModuleType = torchvision
    return module


def _declare() -> None:
    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _declared.append(library)


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1,000 ImageNet classes, in the order of the logits."""
    torchvision()
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)
