"""The store of measured results: what was measured, on what it rests, and whether that is still so.

Results that come with the lab lie in assets/experiments, a person's own in a cache of theirs; a result is one JSON file
in both. It is found again by a digest of everything that it rests on: the experiment with its parameters and seed, the
weights of the models, the images, and the code that measures.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lab import devices
from lab.assets import ASSETS
from lab.records import as_json

SHIPPED = ASSETS / "experiments"
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pillow")
"""Packages whose version may change a figure."""


@dataclass(frozen=True)
class Key:
    """What a measured result rests on.

    Attributes:
        experiment: its word or id.
        params: its parameters, as JSON can hold them.
        seed: of its random numbers.
        models: digest of the weights by the models' keys.
        images: digest of the images by the data sets' names.
        code: digest of the code that measures.
    """

    experiment: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    models: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    @property
    def digest(self) -> str:
        """All of it in sixteen letters."""
        return _sha(json.dumps(asdict(self), sort_keys=True, default=str).encode())

    def differs(self, other: Key) -> tuple[str, ...]:
        """In what another key differs from this one, for a person."""
        words = {"params": "parameters", "seed": "seed", "models": "weights", "images": "images", "code": "code"}
        return tuple(word for name, word in words.items() if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True)
class Stored:
    """A measured result.

    Attributes:
        key: what it rests on.
        record: what was measured, as JSON can hold it.
        command: what measures it again.
        date: when it was measured, in UTC.
        device: what it was measured on.
        versions: of the packages that may change a figure.
        complete: whether it was measured to its end.
    """

    key: Key
    record: Mapping[str, Any]
    command: str
    date: str
    device: str
    versions: Mapping[str, str]
    complete: bool = True

    @classmethod
    def now(cls, key: Key, record: Mapping[str, Any], command: str, complete: bool = True) -> Stored:
        """A result that was measured just now, on this machine."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(key, record, command, date, devices.describe(), versions(), complete)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that may change a figure."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def cache_folder() -> Path:
    """Where a person's own results are kept: LAB_CACHE, or the usual place for caches."""
    given = os.environ.get("LAB_CACHE")
    if given:
        return Path(given)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "adversarial-robustness-lab" / "experiments"


@dataclass(frozen=True)
class Store:
    """Folders of results, one file each; the first is written to, the others only read."""

    folders: tuple[Path, ...]

    def find(self, key: Key) -> Stored | None:
        """The result that rests on exactly this; the whole one before a partial one."""
        fits = [s for s in self.of(key.experiment) if s.key.digest == key.digest]
        return max(fits, key=lambda s: s.complete, default=None)

    def of(self, experiment: str) -> list[Stored]:
        """The results of an experiment, whatever they rest on; those of the first folder come first."""
        return [s for s in self if s.key.experiment == experiment]

    def __iter__(self) -> Iterator[Stored]:
        for folder in self.folders:
            for file in sorted(folder.glob("*.json")):
                stored = read(file)
                if stored is not None:
                    yield stored

    def keep(self, stored: Stored) -> Path:
        """Writes a result: aside first, then in place of an earlier one of the same experiment and parameters."""
        folder = self.folders[0]
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / _file_name(stored.key)
        text = as_json(asdict(stored), indent=1) + "\n"
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".part", delete=False) as aside:
            aside.write(text)
        Path(aside.name).replace(file)
        return file


def shipped() -> Store:
    """The results that come with the lab."""
    return Store((SHIPPED,))


def everything() -> Store:
    """A person's own results, then those that come with the lab."""
    return Store((cache_folder(), SHIPPED))


def weights_digest(net: nn.Module) -> str:
    """A digest of the names and values of all weights, wherever they lie."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def images_digest(x: Tensor, y: Tensor | None = None) -> str:
    """A digest of images [N,C,H,W] and their classes [N]."""
    digest = hashlib.sha256(str(tuple(x.shape)).encode() + x.detach().cpu().contiguous().numpy().tobytes())
    if y is not None:
        digest.update(y.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@cache
def code_digest(module: str, without: tuple[str, ...] = ()) -> str:
    """A digest of what `code_of` names, without comments and docstrings; arguments as there."""
    return _sha("\n".join(f"{name} {_source(name)[0]}" for name in code_of(module, without)).encode())


def code_of(module: str, without: tuple[str, ...] = ()) -> list[str]:
    """Names of a module of the lab and of all that it imports from the lab, in order.

    Args:
        module: its name.
        without: beginnings of the names of modules that are followed, but do not count themselves.
    """
    known: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in known:
            known.add(name)
            waiting += _source(name)[1]
    return sorted(name for name in known if not name.startswith(without))


@cache
def _source(module: str) -> tuple[str, tuple[str, ...]]:
    """The syntax tree of a module as text, and the modules that it imports from the lab."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return "", ()
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    imported = tuple(name for name in dict.fromkeys(names) if name.startswith("lab.") and _is_module(name))
    return ast.dump(_without_docstrings(tree)), imported


@cache
def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module
        return False


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body: Sequence[ast.stmt] = getattr(node, "body", ())
        if isinstance(body, list):
            # a string that stands alone is a docstring, of a class or function or of the constant above it
            body[:] = [s for s in body if not _is_text(s)] or [ast.Pass()]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _file_name(key: Key) -> str:
    """The experiment's id, and what its parameters add where it has any."""
    name = key.experiment.replace("/", "-")
    return (
        f"{name}-{_sha(json.dumps(dict(key.params), sort_keys=True).encode())}.json" if key.params else f"{name}.json"
    )


def read(file: Path) -> Stored | None:
    """The result in a file; None where it holds none."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        return Stored(**{**fields, "key": Key(**fields["key"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
