"""A table of digests of what every attack finds, to compare two commits on one machine.

    python scripts/digests.py > digests.txt

It runs the package of the folder that it is started in, so that one copy of it serves both commits. A line is a case:
its name, then the first digits of the SHA-256 of each part of the result. Equal tables mean equal results, bit for bit.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

sys.path.insert(0, os.getcwd())

import torch
from torch import Tensor, nn

import lab
from lab import devices
from lab.attacks import CATALOG
from lab.defenses.catalog import defend, detector
from lab.models.ensemble import Ensemble
from lab.types import Model

DIGITS = 12
"""Hexadecimal digits of each digest that are printed."""
FEW: Mapping[str, Any] = {"steps": 6, "searches": 2, "samples": 6, "population": 8, "neighbours": 3, "gamma": 0.02}
"""Small budgets, for the attacks that have these parameters."""
MORE: Mapping[str, Mapping[str, Any]] = {
    "square": {"steps": 40},
    "apgd": {"steps": 20},
    "fmn": {"gamma": 0.05},
    "autoattack": {"version": "quick"},
}
"""Other budgets, by attack."""
EPS = {"linf": 0.1, "l2": 1.5, "l1": 20.0}
"""How large a perturbation is allowed, by norm."""
FUSED_BY_LOSS = ("fgsm", "bim", "pgd", "mi_fgsm", "di_fgsm", "vmi_fgsm", "cw", "deepfool")
"""Attacks that are tried on an ensemble that fuses losses."""
AROUND = ("bim", "pgd", "apgd", "cw", "deepfool", "fmn")
"""Attacks that are tried on models behind defenses."""

Case = tuple[str, lab.Result | lab.LabError]


class Colour(nn.Module):
    """A tiny net for colour pictures [N,3,12,12], its numbers drawn from a seed; its batch norm can be folded."""

    def __init__(self, seed: int = 1, classes: int = 5) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.last = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16 * 36, classes)
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) * (0.5 if p.dim() > 1 else 1))
            self.norm.running_mean.copy_(torch.randn(16, generator=rng) / 4)
            self.norm.running_var.copy_(torch.rand(16, generator=rng) + 0.5)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,classes]."""
        hidden = torch.relu(self.second(torch.relu(self.norm(self.first(x)))))
        logits: Tensor = self.last(hidden.flatten(1)) / 4
        return logits


class Subject:
    """A model with pictures [N,C,H,W], the classes that it (or another) sees in them, and the ones that come next."""

    def __init__(self, name: str, model: Model, x: Tensor, seen_by: Model | None = None) -> None:
        self.name, self.model, self.x = name, model, x
        with torch.no_grad():
            order = (seen_by or model)(x).argsort(1, descending=True)
        self.y, self.target = order[:, 0], order[:, 1]


def digest(*parts: Tensor | Sequence[Any]) -> str:
    """The first digits of the SHA-256 of tensors, and of what else can be written."""
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            whole.update(f"{part.dtype}{list(part.shape)}".encode() + part.contiguous().numpy().tobytes())
        else:
            whole.update(repr(part).encode())
    return whole.hexdigest()[:DIGITS]


def line(name: str, r: lab.Result | lab.LabError) -> str:
    """One line of the table."""
    if isinstance(r, lab.LabError):
        return f"{name:56} {type(r).__name__}: {r}"
    sizes = [r.distance[k] for k in sorted(r.distance)]
    measures = [t for f in r.frames for t in (f.loss, f.margin, f.predictions, f.confidence, f.success, f.queries)]
    parts = {
        "x": digest(r.x),
        "success": "".join(str(int(s)) for s in r.success),
        "queries": digest(r.queries),
        "distance": digest(*sizes),
        "seen": digest(r.predictions, r.confidence, r.stage, r.complete),
        "frames": f"{len(r.frames)}:" + digest(*(f.x for f in r.frames), [f.step for f in r.frames]),
        "measures": digest(*measures, *(f.distance[k] for f in r.frames for k in sorted(f.distance))),
    }
    return " ".join([f"{name:56}", *(f"{k}={v}" for k, v in parts.items())])


def settings(key: str, norm: str | None) -> dict[str, Any]:
    """A small budget for an attack in a norm; None where the attack has no choice."""
    has = {p.name for p in CATALOG[key].params}
    given = {k: v for k, v in {**FEW, **MORE.get(key, {})}.items() if k in has}
    if norm is not None:
        given["norm"] = norm
    if "eps" in has:
        given["eps"] = EPS[norm or "linf"]
    return given


def norms(key: str) -> Sequence[str | None]:
    """The norms that an attack offers."""
    return next((p.choices for p in CATALOG[key].params if p.name == "norm"), (None,))


def attacked(name: str, subject: Subject, key: str, norm: str | None, targeted: bool, **more: Any) -> Case:
    """An attack on a subject, and what the case is called."""
    given = {**settings(key, norm), **{k: v for k, v in more.items() if k not in ("trace", "drop_solved")}}
    extra = {k: v for k, v in more.items() if k not in given}
    target = subject.target if targeted else None
    called = f"{name}/{subject.name}/{key}/{norm or '-'}/{'targeted' if targeted else 'any'}"
    try:
        return called, lab.attack(key, subject.model, subject.x, subject.y, target=target, seed=3, **given, **extra)
    except lab.LabError as e:
        return called, e


def catalogue(subject: Subject) -> Iterator[Case]:
    """Every attack in every norm, with and without a target, traced and not."""
    for key in CATALOG:
        for norm in norms(key):
            for targeted in (False, True):
                for trace in (False, True):
                    what = "traced" if trace else "plain"
                    yield attacked(what, subject, key, norm, targeted, trace=trace)


def early(subject: Subject) -> Iterator[Case]:
    """Every attack that stops as soon as a picture is fooled, traced with few pictures."""
    for key in CATALOG:
        yield attacked("early", subject, key, norms(key)[0], False, drop_solved=True)
        yield attacked("early3", subject, key, norms(key)[0], True, drop_solved=True, trace=3)


def cut(subject: Subject) -> Iterator[Case]:
    """Some attacks on more pictures than fit into memory at once, run to the end and stopped on the way."""
    before = devices.CPU_BUDGET, devices.SMALL
    devices.CPU_BUDGET, devices.SMALL = 1, 1
    try:
        for key in ("bim", "pgd", "deepfool", "square", "universal"):
            yield attacked("cut", subject, key, norms(key)[0], False, trace=True)
            yield attacked("stopped", subject, key, norms(key)[0], False, trace=True, **stopping(9))
    finally:
        devices.CPU_BUDGET, devices.SMALL = before


def stopping(after: int) -> dict[str, Any]:
    """What stops an attack when it has been asked so often."""
    asked = iter(range(after))

    def stop() -> bool:
        return next(asked, None) is None

    if "cancel" in inspect.signature(lab.attack).parameters:
        return {"cancel": stop}
    from lab.progress import Progress

    return {"progress": Progress(stop=stop)}


def ensembles(x: Tensor) -> Iterator[Case]:
    """Several models as one, fused in each of the three ways."""
    keys = ("mnist/softmax", "mnist/mlp", "mnist/cnn_small")
    for fuse in ("logits", "probabilities", "loss"):
        subject = Subject(fuse, Ensemble([lab.load_model(key) for key in keys], fuse), x)
        for key in FUSED_BY_LOSS if fuse == "loss" else CATALOG:
            yield attacked("ensemble", subject, key, norms(key)[0], False)
            yield attacked("ensemble", subject, key, norms(key)[-1], True, trace=True)


def defended(x: Tensor, model: nn.Module) -> Iterator[Case]:
    """A model behind transformations, with their own gradients, with the identity's, and averaged over draws."""
    ways: Mapping[str, Mapping[str, Any]] = {
        "bit_depth": {"backward": "bpda", "bits": 3},
        "jpeg": {"backward": "bpda"},
        "median": {},
        "gaussian": {},
        "tv": {"steps": 4},
        "resize_pad": {"draws": 3},
    }
    for key, given in ways.items():
        for attack in AROUND:
            subject = Subject(key, defend(key, model, seed=5, **given), x)
            yield attacked("defended", subject, attack, norms(attack)[0], False, trace=True)


def guarded(x: Tensor) -> Iterator[Case]:
    """A model with its detector, as one attacks it who knows both."""
    for key, model in (("squeezing", "mnist/cnn_small"), ("reconstruction", "mnist/capsnet")):
        plain = lab.load_model(model)
        subject = Subject(key, detector(key).known(plain, 0.5), x, plain)
        for attack in ("bim", "pgd", "mi_fgsm", "cw"):
            yield attacked("guarded", subject, attack, norms(attack)[0], True, trace=True)
            yield attacked("guarded_early", subject, attack, norms(attack)[0], True, drop_solved=True)


def cases() -> Iterator[Case]:
    """The whole table."""
    digits = lab.load_data("mnist").x[:4]
    small = Subject("softmax", lab.load_model("mnist/softmax"), digits)
    net = Subject("cnn_small", lab.load_model("mnist/cnn_small"), digits)
    colour = Subject("colour", Colour(), torch.rand((3, 3, 12, 12), generator=torch.Generator().manual_seed(2)))
    for subject in (small, net, colour):
        yield from catalogue(subject)
    for subject in (net, colour):
        yield from early(subject)
    yield from cut(net)
    yield from ensembles(digits[:2])
    yield from defended(digits[:2], net.model)
    yield from guarded(digits[:2])


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    for name, result in cases():
        sys.stdout.write(line(name, result) + "\n")


if __name__ == "__main__":
    main()
