"""What is asked of the lab, and the Python that asks it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.attacks.catalog import find_attack
from lab.data.windows import MIDDLE
from lab.models.catalog import name_elsewhere


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
        window: where along a long picture the model looks, from 0 to 1; see `lab.data.windows`.
    """

    model: str
    dataset: str
    image: str
    attack: str
    params: Mapping[str, Any] = field(default_factory=dict)
    target: int | None = None
    seed: int = 0
    window: float = MIDDLE


def python(request: Request) -> str:
    """A script that computes the same result with the package."""
    imports = ["import lab"]
    if request.window != MIDDLE and request.dataset in ("photographs", "file"):
        imports += ["from lab.data.photographs import photographs"] if request.dataset == "photographs" else []
        imports += ["from lab.data.windows import window"]
        picture = f'photographs()["{request.image}"].open()'
        if request.dataset == "file":
            imports += ["from PIL import Image"]
            picture = 'Image.open("your-picture.png")'
        image = f"x = model.card.fit(window({picture}, {request.window!r}))"
    elif request.dataset == "photographs":
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
            *imports,
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


def _literal(value: Any, pixels: bool) -> str:
    if pixels and isinstance(value, float) and value == (n := round(value * 255, 2)) / 255:
        return f'"{n:g}/255"'
    return f'"{value}"' if isinstance(value, str) else repr(value)
