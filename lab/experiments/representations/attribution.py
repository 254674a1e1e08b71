"""Attribution: which pixels speak for a class, by captum, on a twin of the network that may get hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import torch
from captum.attr import IntegratedGradients, LayerGradCam, Saliency
from torch import Tensor, nn
from torch.nn import functional as F

from lab import devices
from lab.experiments.attack.run import AttackRun
from lab.experiments.representations.activations import layers, network, stages
from lab.progress import SILENT, Progress
from lab.types import Model, ModelError

STEPS = 32
"""Points on the way from black to the image at which integrated gradients look."""
BATCH = 8
"""How many of these points go through the network together."""


def logit_gradient(net: nn.Module, x: Tensor, target: int) -> Tensor:
    """The gradient of the class's logit with respect to the pixels."""
    found: Tensor = Saliency(net).attribute(x, target=target, abs=False)
    return found


def integrated_gradients(net: nn.Module, x: Tensor, target: int) -> Tensor:
    """The gradient averaged on the way from a black image, times the image.

    Source: Sundararajan et al. 2017.
    """
    method = IntegratedGradients(net)
    found: Tensor = method.attribute(x, target=target, n_steps=STEPS, internal_batch_size=BATCH)
    return found.to(x)


def grad_cam(net: nn.Module, x: Tensor, target: int) -> Tensor:
    """The maps of the last stage that has any, weighted by how they raise the class, enlarged to the image.

    Source: Selvaraju et al. 2017.

    Raises:
        ModelError: for a network without maps.
    """
    maps = [layer for layer in layers(net, x) if layer.is_map and min(layer.shape[1:]) > 1]
    if not maps:
        raise ModelError("Grad-CAM needs a stage with maps, and this network has none: choose another method")
    cam: Tensor = LayerGradCam(net, stages(net)[maps[-1].name]).attribute(x, target=target, relu_attributions=True)
    return F.interpolate(cam, x.shape[-2:], mode="bilinear", align_corners=False)


METHODS: Mapping[str, Callable[[nn.Module, Tensor, int], Tensor]] = {
    "Input gradient": logit_gradient,
    "Integrated gradients": integrated_gradients,
    "Grad-CAM": grad_cam,
}


def attribution(model: Model, x: Tensor, target: int, method: str) -> Tensor:
    """How much each pixel of an image [1,C,H,W] speaks for a class: one map [H,W] on the CPU, summed over colours.

    Raises:
        ModelError: for a network that the method cannot be used on.
    """
    net = network(model)
    with torch.enable_grad():
        values = METHODS[method](net, x.detach().to(devices.of(net, x), copy=True).requires_grad_(), target)
    return values.detach().sum(1)[0].cpu()


def attributions(
    model: Model, run: AttackRun, target: int | None = None, *, progress: Progress = SILENT
) -> dict[str, tuple[Tensor, Tensor]]:
    """By method, the maps of the clean and of the attacked image.

    A method that cannot be used on the network is left out, as Grad-CAM is where there are no maps.

    Args:
        model: that was attacked.
        run: the attack.
        target: the class that the maps speak of; None for the one that the model sees in each image.
        progress: hears of every method.

    Raises:
        Cancelled: where the work is to stop.
    """
    maps = {}
    for k, method in enumerate(METHODS):
        progress.tell(k / len(METHODS), method)
        with suppress(ModelError):
            maps[method] = (
                attribution(model, run.clean, run.clean_class if target is None else target, method),
                attribution(model, run.attacked, run.attacked_class if target is None else target, method),
            )
    return maps
