"""The bundled samples of MNIST and Fashion-MNIST."""

from __future__ import annotations

import zipfile
import zlib
from functools import cache, partial

import numpy as np
import torch

from lab.assets import ASSETS
from lab.data.spec import DataSpec
from lab.images import Fit, Images, from_bytes
from lab.types import DataError


@cache
def load_sample(file: str, prefix: str) -> Images:
    """The images of one bundled sample; ids are `prefix` and the position in the official file.

    Raises:
        DataError: where the file is missing or damaged.
    """
    try:
        with (ASSETS / "datasets" / file).open("rb") as f, np.load(f, allow_pickle=False) as held:
            x, y, index = held["x"], held["y"], held["index"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise DataError(f"the bundled sample {file} is missing or damaged: restore it from the repository") from e
    ids = [f"{prefix}-{i}" for i in index.tolist()]
    return Images(from_bytes(torch.from_numpy(x)), torch.from_numpy(y.astype(np.int64)), ids)


def _copy(file: str, prefix: str, fit: Fit) -> Images:
    """The images of a sample as the caller's own, whatever becomes of them; these have one size, whatever the model."""
    kept = load_sample(file, prefix)
    return Images(kept.x.clone(), kept.y.clone(), kept.ids)


MNIST = DataSpec(
    key="mnist",
    name="MNIST",
    task="mnist",
    summary="2,000 handwritten digits of MNIST's training file, held out of every bundled model's training.",
    test=partial(_copy, "mnist_heldout.npz", "mnist"),
    official=True,
)
FASHION_MNIST = DataSpec(
    key="fashion_mnist",
    name="Fashion-MNIST",
    task="fashion_mnist",
    summary="The 10,000 official test images of Fashion-MNIST.",
    test=partial(_copy, "fashion_mnist_test.npz", "fashion_mnist"),
    official=True,
)
