"""Which part of a picture a model is shown, and how a drawn digit is laid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import lab
from lab.data.windows import BOX, MIDDLE, SIDE, centred, window
from lab.images import from_picture, to_picture
from lab.types import ImageError


def stripes(width: int, height: int) -> Image.Image:
    """A picture whose red tells the column and whose green tells the row."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([columns, rows, 0 * rows], 2).astype(np.uint8))


@pytest.mark.parametrize(("place", "first"), [(0.0, 0), (1.0, 60), (0.25, 15)])
def test_the_window_moves_along_the_longer_side(place: float, first: int) -> None:
    wide, tall = window(stripes(100, 40), place), window(stripes(40, 100), place)
    assert wide.size == tall.size == (40, 40)
    assert wide.getpixel((0, 0)) == (first, 0, 0)
    assert tall.getpixel((0, 0)) == (0, first, 0)


def test_in_the_middle_the_model_s_own_fit_decides() -> None:
    picture = stripes(100, 40)
    assert window(picture, MIDDLE) is picture


def test_a_drawing_is_scaled_to_the_box_with_its_mass_in_the_middle() -> None:
    drawing = Image.new("L", (224, 224))
    ImageDraw.Draw(drawing).line([(20, 10), (60, 150)], fill=255, width=18)
    values = np.asarray(centred(drawing)).astype(float)
    assert values.shape == (SIDE, SIDE)
    rows, columns = (np.flatnonzero(values.sum(axis)) for axis in (1, 0))
    assert rows[-1] - rows[0] + 1 == BOX
    assert columns[-1] - columns[0] + 1 < BOX
    middle = (SIDE - 1) / 2
    for axis in (0, 1):
        mass = values.sum(1 - axis)
        assert abs((mass * np.arange(SIDE)).sum() / mass.sum() - middle) <= 0.5


def test_digits_of_mnist_lie_so_already() -> None:
    x, model = lab.load_data("mnist").x[:50], lab.load_model("mnist/cnn")
    moved = torch.cat([from_picture(centred(to_picture(each))) for each in x])
    assert torch.equal(model(moved).argmax(1), model(x).argmax(1))


def test_where_nothing_is_drawn_nothing_is_read() -> None:
    with pytest.raises(ImageError, match="nothing is drawn"):
        centred(Image.new("RGB", (224, 224)))
