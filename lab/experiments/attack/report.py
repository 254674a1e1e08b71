"""What a person takes away: a manifest of the run, and the Python that runs it again."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from lab import devices
from lab.attacks.catalog import find_attack
from lab.experiments.attack.run import AttackRun
from lab.experiments.representations.activations import Depth
from lab.models.catalog import name_elsewhere

PACKAGES = ("torch", "torchvision", "numpy", "pillow")


@dataclass(frozen=True)
class Request:
    """What was asked of the lab: enough to do it again.

    Attributes:
        model: key of the model.
        dataset: "photographs", with a picture's id; "mnist" or "fashion_mnist", with a number; "file", a person's own.
        image: id, number or digest of the picture.
        attack: key of the attack.
        params: its parameters.
        target: the class to reach, None for any other.
        seed: of the random numbers.
    """

    model: str
    dataset: str
    image: str
    attack: str
    params: Mapping[str, Any] = field(default_factory=dict)
    target: int | None = None
    seed: int = 0


def manifest(request: Request, done: AttackRun, classes: Sequence[str]) -> dict[str, Any]:
    """Parameters, seed, versions, device and results of a run, ready for JSON."""
    result = done.result
    return {
        "model": request.model,
        "image": {"dataset": request.dataset, "id": request.image, "shape": list(done.clean.shape[1:])},
        "attack": request.attack,
        "params": dict(request.params),
        "target": None if request.target is None else _class(request.target, classes),
        "seed": request.seed,
        "result": {
            "success": done.fooled,
            "complete": result.complete,
            "clean": {**_class(done.seen, classes), "confidence": done.clean_p.max().item()},
            "attacked": {**_class(done.now, classes), "confidence": result.confidence[0].item()},
            "distance": {k: v[0].item() for k, v in result.distance.items()},
            "ssim": done.ssim,
            "forward_passes": int(result.queries[0]),
            "backward_passes": int(result.backwards[0]),
        },
        "device": devices.describe(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def _class(index: int, classes: Sequence[str]) -> dict[str, Any]:
    return {"class": index, "name": classes[index]}


def profile(found: Depth) -> list[dict[str, Any]]:
    """A depth profile, one entry a stage, ready for JSON."""
    return [
        {"stage": layer.name, "kind": layer.kind, "shape": list(layer.shape), "attack": attack, "noise": noise}
        for layer, attack, noise in zip(found.layers, found.attack.tolist(), found.noise.tolist(), strict=True)
    ]


def arrays(done: AttackRun) -> bytes:
    """An .npz archive with the clean and the attacked image, their difference and the probabilities, 32-bit floats."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        clean=done.clean[0].numpy(),
        attacked=done.result.x[0].cpu().numpy(),
        perturbation=done.delta[0].cpu().numpy(),
        clean_probabilities=done.clean_p.numpy(),
        attacked_probabilities=done.attacked_p.numpy(),
    )
    return file.getvalue()


def python(request: Request) -> str:
    """A script that computes the same result with the package."""
    if request.dataset == "photographs":
        image = f'x = lab.load_picture("{request.image}", model.card)'
    elif request.dataset == "file":
        image = 'x = lab.load_picture("your-picture.png", model.card)  # your own file'
    else:
        image = f'x = lab.load_data("{request.dataset}").x[{request.image}:{int(request.image) + 1}]'
    norm = find_attack(request.attack).measured_in(request.params)
    pixels = norm == "linf"
    named = [f"{k}={_literal(v, pixels and k in ('eps', 'alpha'))}" for k, v in request.params.items()]
    target = "" if request.target is None else f", target={request.target}"
    return "\n".join(
        (
            "import lab",
            "",
            f'model = lab.load_model("{name_elsewhere(request.model)}")',
            image,
            "y = model(x).argmax(1)  # the class that the model sees",
            "result = lab.attack(",
            f'    "{request.attack}", model, x, y{target}, seed={request.seed},',
            *([f"    {', '.join(named)},"] if named else []),
            ")",
            "",
            "name = model.card.classes[int(result.predictions[0])]",
            f'print(name, f"{{result.confidence[0]:.1%}}", "moved by", result.distance["{norm}"][0].item())',
        )
    )


LOOK_INSIDE = """
from lab.experiments.representations.activations import depth

found = depth(model, x, result.x)
for layer, moved, noise in zip(found.layers, found.attack, found.noise):
    print(f"{layer.name:32} moved by {moved:.1%}, by noise of the same length {noise:.1%}")
"""
"""What follows `python` to look into the network."""


def _literal(value: Any, pixels: bool) -> str:
    if pixels and isinstance(value, float) and value == (n := round(value * 255, 2)) / 255:
        return f'"{n:g}/255"'
    return f'"{value}"' if isinstance(value, str) else repr(value)
