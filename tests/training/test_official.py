"""CIFAR-10 from its archive of JPEGs; MNIST's files are tested with the recipes that read them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from lab.data.official import load_official
from lab.types import DataError


def archive(path, **changes):
    """Three flat pictures, one red, one green, one blue, in both splits."""
    pictures = []
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        out = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(out, "JPEG", quality=95)
        pictures.append(np.frombuffer(out.getvalue(), np.uint8))
    offsets = np.cumsum([0, *(len(p) for p in pictures)])
    parts = {"jpeg": np.concatenate(pictures), "offsets": offsets, "labels": np.array([4, 5, 6], np.uint8)}
    parts = {f"{split}_{k}": v for split in ("train", "test") for k, v in parts.items()} | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{k: v for k, v in parts.items() if v is not None})


def test_pictures_are_cut_apart_at_their_offsets(tmp_path):
    archive(tmp_path / "cifar10" / "cifar10_jpeg.npz")
    data = load_official("cifar10", "test", tmp_path)
    assert data.x.shape == (3, 3, 32, 32)
    assert data.x.dtype == torch.float32
    assert data.y.tolist() == [4, 5, 6]
    means = data.x.mean((2, 3))
    assert torch.allclose(means, torch.eye(3), atol=0.02)


@pytest.mark.parametrize(
    "changes",
    [
        {"test_labels": None},
        {"test_labels": np.array([1, 2], np.uint8)},
        {"test_jpeg": np.zeros(3000, np.uint8)},
        {"test_jpeg": np.array([{}], dtype=object)},
    ],
)
def test_a_damaged_archive_is_refused(tmp_path, changes):
    archive(tmp_path / "cifar10" / "cifar10_jpeg.npz", **changes)
    with pytest.raises(DataError, match=r"fetch (it|its files) again"):
        load_official("cifar10", "test", tmp_path)


def test_a_truncated_archive_is_refused(tmp_path):
    path = tmp_path / "cifar10" / "cifar10_jpeg.npz"
    archive(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        load_official("cifar10", "test", tmp_path)
