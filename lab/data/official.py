"""The full official data sets, for training and for measuring; the app itself ships only samples of them."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lab.images import Images, from_bytes
from lab.types import DataError

Split = Literal["train", "test"]

IDX_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion_mnist", "FashionMNIST/raw"),
}
"""Folders below the root in which the four IDX files of a data set may lie: the lab's own, then torchvision's."""
CLASSES: Mapping[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}
"""Names of the classes, in the order of the labels."""
HELD_OUT: Mapping[str, range] = {"mnist": range(8_000, 10_000)}
"""Items of the official training file that the app shows as unseen; no shipped net is trained on them."""

_IDX_NAMES = {"train": "train", "test": "t10k"}
_IDX_BYTES = 0x08


def load_official(key: str, split: Split, root: Path | None = None) -> Images:
    """Every image of a data set's official training or test file, in the file's order.

    Args:
        key: "mnist", "fashion_mnist" or "cifar10".
        split: "train" or "test".
        root: folder with the data; else the environment's LAB_DATA, else ./data.

    Returns:
        Images float32 [N,C,H,W] in [0,1]; the ids are "<key>/<split>/<position>".

    Raises:
        DataError: for an unknown key or split, or files that are absent or damaged.
    """
    if key not in CLASSES:
        raise DataError(f"there is no official data set '{key}': choose one of {', '.join(CLASSES)}")
    if split not in _IDX_NAMES:
        raise DataError(f"a data set has the splits train and test, not '{split}'")
    root = root or Path(os.environ.get("LAB_DATA", "data"))
    x, y = _cifar(root, split) if key == "cifar10" else _idx_pair(key, split, root)
    if len(x) != len(y):
        raise DataError(f"{key} has {len(x)} {split} images but {len(y)} labels: fetch its files again")
    return Images(x, y, [f"{key}/{split}/{i}" for i in range(len(x))])


def has_official(key: str, split: Split, root: Path | None = None) -> bool:
    """Whether the official images of MNIST or Fashion-MNIST are there; their content is not looked at."""
    root = root or Path(os.environ.get("LAB_DATA", "data"))
    try:
        _find(key, f"{_IDX_NAMES[split]}-images-idx3-ubyte", root)
        _find(key, f"{_IDX_NAMES[split]}-labels-idx1-ubyte", root)
    except DataError:
        return False
    return True


def training_images(key: str, root: Path | None = None) -> Images:
    """The official training images that a shipped net may see: all but those in HELD_OUT.

    Raises:
        DataError: as `load_official`.
    """
    data = load_official(key, "train", root)
    held = HELD_OUT.get(key, range(0))
    return data.rows([i for i in range(len(data)) if i not in held])


def _idx_pair(key: str, split: Split, root: Path) -> tuple[Tensor, Tensor]:
    stem = _IDX_NAMES[split]
    images = _read_idx(_find(key, f"{stem}-images-idx3-ubyte", root), dimensions=3)
    labels = _read_idx(_find(key, f"{stem}-labels-idx1-ubyte", root), dimensions=1)
    return from_bytes(images), labels.to(torch.int64)


def _find(key: str, name: str, root: Path) -> Path:
    for folder in IDX_FOLDERS[key]:
        for ending in (".gz", ""):
            path = root / folder / (name + ending)
            if path.is_file():
                return path
    here = " or ".join(str(root / folder) for folder in IDX_FOLDERS[key])
    raise DataError(f"the file {name}.gz of {key} is missing: put it into {here}, or set LAB_DATA to the data's folder")


def _read_idx(path: Path, dimensions: int) -> Tensor:
    """Bytes of an IDX file, uint8 [N,...]."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path} cannot be read ({e}): fetch it again") from e
    start = 4 + 4 * dimensions
    if len(raw) < start or raw[:4] != bytes([0, 0, _IDX_BYTES, dimensions]):
        raise DataError(f"{path} is not an IDX file of bytes with {dimensions} dimension(s): fetch it again")
    shape = struct.unpack(f">{dimensions}I", raw[4:start])
    if len(raw) - start != int(np.prod(shape)):
        raise DataError(f"{path} is truncated: it promises {list(shape)} bytes and holds {len(raw) - start}")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=start).reshape(shape)


def _cifar(root: Path, split: Split) -> tuple[Tensor, Tensor]:
    """CIFAR-10 from JPEGs one after another: bytes, offsets [N+1] and labels [N] of each split in one npz."""
    path = root / "cifar10" / "cifar10_jpeg.npz"
    if not path.is_file():
        raise DataError(f"CIFAR-10 is missing: put cifar10_jpeg.npz into {path.parent}, or set LAB_DATA")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            jpeg, offsets = archive[f"{split}_jpeg"], archive[f"{split}_offsets"]
            labels = torch.from_numpy(archive[f"{split}_labels"].astype(np.int64))
        pictures = [_decode(jpeg[a:b].tobytes()) for a, b in pairwise(offsets)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, UnidentifiedImageError) as e:
        raise DataError(f"{path} cannot be read ({e}): fetch it again") from e
    return from_bytes(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()), labels


def _decode(jpeg: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(BytesIO(jpeg)) as picture:
        return np.asarray(picture.convert("RGB"))
