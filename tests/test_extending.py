"""Every example of docs/extending.md, built into a copy of the lab and run there."""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
IMAGES = 400
CONFORMANCE = "test_conformance"


def change(text: str, diff: str) -> str:
    """A text with the lines of a diff without line numbers put in place of those that it names."""
    before = "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] in " -")
    after = "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] in " +")
    assert text.count(before) == 1, f"these lines stand there {text.count(before)} times:\n{before}"
    return text.replace(before, after)


def official_digits(folder: Path) -> None:
    """Files in MNIST's format: a bar a class, at a place of its own."""
    rng = np.random.default_rng(0)
    for name, n in (("train", IMAGES), ("t10k", 50)):
        y = np.arange(n) % 10
        x = rng.integers(0, 60, (n, 28, 28), dtype=np.uint8)
        for image, label in zip(x, y, strict=True):
            image[2 * label + 3 : 2 * label + 5, 4:24] = 230
        for kind, values in (("images-idx3", x), ("labels-idx1", y.astype(np.uint8))):
            sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
            content = bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(content, 1))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the lab with all examples in it, and a way to run a command there."""
    copy = tmp_path_factory.mktemp("house")
    for folder in ("lab", "pages", "scripts", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "assets", copy / "assets", copy_function=os.symlink)
    for file in ("app.py", "pyproject.toml"):
        shutil.copy(ROOT / file, copy / file)
    (copy / "data" / "mnist").mkdir(parents=True)
    official_digits(copy / "data" / "mnist")
    for kind, name, text in BLOCKS:
        file = copy / name
        if kind == "diff":
            file.write_text(change(file.read_text(encoding="utf-8"), text), encoding="utf-8")
        elif name:
            assert not file.exists(), f"{name} exists: the example needs another name"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def run(*argv: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(copy), "LAB_DATA": str(copy / "data")}
        done = subprocess.run([sys.executable, *argv], cwd=copy, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for kind, _, text in BLOCKS:
        if kind == "bash":
            run(*shlex.split(text)[1:])
    return run


def test_there_is_an_example_of_everything():
    made = [name for kind, name, _ in BLOCKS if kind == "python" and not name.startswith("tests/")]
    for folder in ("lab/attacks", "lab/defenses", "lab/models", "lab/data", "lab/experiments", "lab/ui/pages", "pages"):
        assert any(name.startswith(f"{folder}/") for name in made)


def test_their_tests_pass_and_the_attack_keeps_the_promises_of_all_attacks(house):
    tests = [name for kind, name, _ in BLOCKS if kind == "python" and name.startswith("tests/")]
    promises = f"tests/attacks/{CONFORMANCE}.py"
    said = house(
        "-m", "pytest", "-v", "-p", "no:cacheprovider", *tests, promises, "-k", f"corners or not {CONFORMANCE}"
    )
    assert all(file in said for file in (*tests, promises))


def test_the_command_line_knows_them(house):
    said = house("-m", "lab", "catalog")
    for key in ("corners", "pooling", "confidence", "mnist/mlp_trades", "mnist/softmax_signs", "mnist_shifted"):
        assert re.search(rf"\b{key}\b", said)
    attacked = "attack --model mnist/mlp_trades --attack corners --dataset mnist_shifted --limit 5 --param eps=0.3"
    assert "corners on mnist/mlp_trades, 5 images" in house("-m", "lab", *attacked.split())
