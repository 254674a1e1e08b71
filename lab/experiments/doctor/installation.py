"""An installation, looked over: what it runs on, what is there and what is not, and whether an attack goes well."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

from lab import devices
from lab.attacks import attack
from lab.data.catalog import CATALOG as DATASETS
from lab.data.catalog import load_data
from lab.data.official import has_official
from lab.models.catalog import CATALOG, is_here, load_model
from lab.store import cache_folder
from lab.types import LabError, Result

NEEDED = (
    *("torch", "torchvision", "numpy", "scipy", "pillow", "streamlit", "plotly", "safetensors", "captum", "kornia"),
    *("tqdm", "efficientnet-lite-pytorch"),
)
"""Packages that the lab works with."""
OPTIONAL = ("foolbox", "torchattacks", "hypothesis", "pytest", "playwright")
"""Packages that its tests and comparisons work with."""
ATTACK, EPS, IMAGES = "pgd", 0.1, 16
"""The self-test, on mnist/cnn."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what it is part of, one of the headings.
        what: what was looked at.
        found: what was found, for a person.
        state: "well", "absent" for what can be done without, or "wrong".
    """

    about: str
    what: str
    found: str
    state: Literal["well", "absent", "wrong"] = "well"


@dataclass(frozen=True)
class Installation:
    """Everything that was found.

    Attributes:
        findings: in order.
    """

    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return all(each.state != "wrong" for each in self.findings)

    def record(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {"sound": self.sound, "findings": self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        """The findings."""
        return [asdict(each) for each in self.findings]


def examine(release: str) -> Iterator[Finding]:
    """Looks the installation of this release over; the self-test, which takes some seconds, comes last."""
    yield Finding("versions", "lab", release)
    yield from _programs()
    yield from _devices()
    yield from _files()
    yield from _self_test()


def _programs() -> Iterator[Finding]:
    yield Finding("versions", "Python", f"{platform.python_version()}, {platform.platform()}")
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
    yield Finding("versions", "build of torch", build)
    for name in (*NEEDED, *OPTIONAL):
        try:
            yield Finding("versions", name, version(name))
        except PackageNotFoundError:
            why = "absent; it is needed: install requirements.txt" if name in NEEDED else "absent; for tests only"
            yield Finding("versions", name, why, "wrong" if name in NEEDED else "absent")


def _devices() -> Iterator[Finding]:
    chosen = devices.pick()
    why = f"chosen by {devices.CHOICE} or --device" if devices.choice() else "as no other was chosen"
    yield Finding("devices", "in use", f"{chosen}, {why}")
    for name in devices.present():
        device = torch.device(name)
        free = ""
        if device.type == "cuda":
            free = f", {torch.cuda.mem_get_info(device)[0] / 2**30:.1f} GiB free"
        yield Finding("devices", name, devices.describe(device) + free)
    rough = devices.is_rough(torch.device("cuda"))
    digits = "on for gradients, off for verdicts and figures" if rough else "off"
    yield Finding("devices", "TF32", digits if len(devices.present()) > 1 else "no card that it is for")


def _files() -> Iterator[Finding]:
    here = [key for key in CATALOG if is_here(key)]
    absent = [key for key in CATALOG if key not in here]
    yield Finding("files", "models", f"{len(here)} of {len(CATALOG)} are here")
    if absent:
        yield Finding("files", "fetched at first use", ", ".join(absent), "absent")
    for key, spec in DATASETS.items():
        try:
            yield Finding("files", key, f"{len(load_data(key)):,} images")
        except LabError as e:
            yield Finding("files", key, str(e), "wrong")
        if spec.official and not has_official(key, "test"):
            yield Finding(
                "files", f"official {key}", "absent; LAB_DATA names its folder, to train and reproduce", "absent"
            )
    for what, folder in {"results": cache_folder(), "fetched weights": Path(torch.hub.get_dir())}.items():
        state = _writable(folder)
        yield Finding(
            "files",
            f"folder of {what}",
            f"{folder}{'' if state else ' cannot be written to'}",
            "well" if state else "wrong",
        )


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the one in which it would be made."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


def _self_test() -> Iterator[Finding]:
    """The same attack on every device, with the same verdict."""
    data = load_data("mnist").rows(slice(0, IMAGES))
    first: Result | None = None
    chosen = str(torch.empty(0, device=devices.pick()).device)  # with its number
    for name in dict.fromkeys([*devices.present(), chosen]):
        began = time.perf_counter()
        try:
            found = attack(ATTACK, load_model("mnist/cnn").to(name), data.x, data.y, eps=EPS)
        except (LabError, RuntimeError) as e:
            told = devices.trouble(e) or e
            yield Finding("self-test", name, " ".join(str(told).split()), "wrong")
            continue
        first = first or found
        same = torch.equal(found.success, first.success)
        verdict = (
            f"{ATTACK} fools mnist/cnn on {int(found.success.sum())} of {IMAGES}, {time.perf_counter() - began:.1f} s"
        )
        yield Finding(
            "self-test",
            name,
            verdict if same else f"{verdict}, and others than on the CPU",
            "well" if same else "wrong",
        )
