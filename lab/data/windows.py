"""Which part of a person's picture a model is shown: a window along a long picture, a drawn digit in the middle."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lab.types import ImageError

MIDDLE = 0.5
"""Where the window lies unless it is moved."""
BOX, SIDE = 20, 28
"""Sides in pixels of the box that MNIST's digits are fitted into, and of its images."""


def window(picture: Image.Image, place: float = MIDDLE) -> Image.Image:
    """The largest square of a picture, at a place along its longer side: 0 for the left or top end, 1 for the other.

    In the middle the picture itself, of which a model's own fit takes the middle.
    """
    if place == MIDDLE:
        return picture
    return picture.crop(box(picture.size, place))


def box(size: tuple[int, int], place: float) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of that square in a picture of this width and height."""
    width, height = size
    side = min(size)
    left, top = round((width - side) * place), round((height - side) * place)
    return left, top, left + side, top + side


def centred(drawing: Image.Image) -> Image.Image:
    """A drawing, bright on black, as MNIST's digits lie in their images (LeCun et al. 1998).

    The longer side of what is drawn is scaled to BOX pixels, and its centre of mass put into the middle of SIDE x SIDE.

    Raises:
        ImageError: where nothing is drawn.
    """
    gray = drawing.convert("L")
    drawn = gray.getbbox()
    if drawn is None:
        raise ImageError("nothing is drawn yet")
    digit = gray.crop(drawn)
    scale = BOX / max(digit.size)
    width, height = (max(1, round(side * scale)) for side in digit.size)
    values = np.asarray(digit.resize((width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST))
    mass = values.astype(float)
    x = (mass.sum(0) * np.arange(width)).sum() / mass.sum()
    y = (mass.sum(1) * np.arange(height)).sum() / mass.sum()
    left = int(np.clip(round((SIDE - 1) / 2 - x), 0, SIDE - width))
    top = int(np.clip(round((SIDE - 1) / 2 - y), 0, SIDE - height))
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[top : top + height, left : left + width] = values
    return Image.fromarray(image)
