"""The bundled samples of MNIST and Fashion-MNIST."""

from __future__ import annotations

import zipfile
import zlib
from functools import cache

import numpy as np
import torch

from lab.assets import ASSETS
from lab.images import Images, from_bytes
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
