"""Exact pictures: tensors to pixels, enlarged only by whole factors."""

from __future__ import annotations

import base64
from typing import Literal

from torch import Tensor

from lab.images import encode


def enlarge(x: Tensor, least: int = 224) -> Tensor:
    """An image [C,H,W] with every pixel repeated, by the whole factor that brings its width nearest to `least`."""
    factor = max(1, round(least / x.shape[-1]))
    return x.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2)


def amplify(delta: Tensor, largest: float | None = None) -> tuple[Tensor, float]:
    """A perturbation [C,H,W] as a picture around mid-gray, and the factor by which it is amplified.

    Args:
        delta: the perturbation; no change stays mid-gray.
        largest: the change that becomes black or white; None for the largest of this perturbation.
    """
    largest = delta.abs().max().item() if largest is None else largest
    factor = 0.5 / largest if largest else 1.0
    return 0.5 + delta * factor, factor


def data_url(x: Tensor, least: int, kind: Literal["PNG", "JPEG"] = "PNG") -> str:
    """An image [C,H,W] in [0,1] as the data URL of a file, enlarged as by `enlarge`; a PNG is compressed little."""
    data = encode(enlarge(x, least), kind, **({"compress_level": 1} if kind == "PNG" else {"quality": 85}))
    return f"data:image/{kind.lower()};base64," + base64.b64encode(data).decode()
