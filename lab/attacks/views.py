"""Views: other looks at the image through which gradients are taken, so that they fit one model less closely."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

View = Callable[[Tensor], Tensor]
"""Images [N,C,H,W] -> images of the same shape, differentiable."""


def chain(*each: View) -> View:
    """One view after another."""

    def view(x: Tensor) -> Tensor:
        for v in each:
            x = v(x)
        return x

    return view


def dimmed(k: int) -> View:
    """The image at brightness 1/2^k; k = 0 is the image itself.

    Source: Lin et al. 2020 (SI-FGSM), equation 8.
    """
    return lambda x: x if k == 0 else x / 2**k


def diverse(rng: torch.Generator, like: Tensor, probability: float, shrink: float = 0.9) -> View:
    """With some probability, the image shrunk to a random size and put at a random place on black, else itself.

    The draw is made once, when the view is made, and is the same for all images.

    Source: Xie et al. 2019 (DI-FGSM).
    Deviation: the authors enlarge 299 to at most 330 pixels and hand that to the network; here the size stays, and the
        image shrinks to between 0.9 and 1 of it, so that every network can take it.
    """
    if not probability:
        return lambda x: x
    chance, size, top, left = torch.rand(4, generator=rng).tolist()
    if chance >= probability:
        return lambda x: x
    height, width = like.shape[-2:]
    part = shrink + (1 - shrink) * size
    h, w = max(1, round(height * part)), max(1, round(width * part))
    above, before = round((height - h) * top), round((width - w) * left)
    margins = (before, width - w - before, above, height - h - above)

    def view(x: Tensor) -> Tensor:
        return F.pad(F.interpolate(x, size=(h, w), mode="bilinear", align_corners=False), margins)

    return view


def blur(g: Tensor, width: int, deviations: float = 3.0) -> Tensor:
    """A gradient [N,C,H,W] convolved with a Gaussian kernel, channel by channel, edges filled with zeros.

    Args:
        g: the gradient.
        width: of the kernel, in pixels; an even one is made odd.
        deviations: standard deviations from the kernel's centre to its edge.

    Source: Dong et al. 2019 (TI-FGSM), equation 8; kernel 15 and 3 deviations in the authors' code.
    """
    half = width // 2
    axis = torch.linspace(-deviations, deviations, 2 * half + 1).to(g)
    bell = torch.exp(-axis.square() / 2)
    bell = bell / bell.sum()
    channels = g.shape[1]
    rows = bell.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    columns = bell.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    g = F.conv2d(g, rows, padding=(0, half), groups=channels)
    return F.conv2d(g, columns, padding=(half, 0), groups=channels)
