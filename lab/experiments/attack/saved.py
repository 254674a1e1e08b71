"""What is left of an attack once the picture is saved as a file and opened again."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from lab.images import encode, from_picture
from lab.predict import logits_of
from lab.progress import SILENT, Progress
from lab.types import Goal, Model


@dataclass(frozen=True)
class Survival:
    """One way of saving and what the model sees in the file.

    Attributes:
        name: the format, for a person.
        data: the file; empty where nothing was saved.
        logits: of the picture read back from `data` [K].
        clean: of the clean picture saved and read back the same way [K]: what the format alone does.
        success: whether the goal is still reached.
        linf: largest change of a pixel from the clean image.
    """

    name: str
    data: bytes
    logits: Tensor
    clean: Tensor
    success: bool
    linf: float


def survival(
    model: Model, clean: Tensor, x: Tensor, goal: Goal, *, progress: Progress = SILENT
) -> tuple[Survival, ...]:
    """The attacked image as computed, as an 8-bit PNG, and as a JPEG of quality 75, each as the model sees it.

    Args:
        model: images -> logits.
        clean: the clean image [1,C,H,W].
        x: the attacked image [1,C,H,W].
        goal: of this image.
        progress: hears of each format.

    Raises:
        Cancelled: where the work is to stop.
    """
    formats: dict[str, tuple[str, dict[str, int]] | None] = {
        "As computed (32-bit)": None,
        "PNG, 8-bit": ("PNG", {}),
        "JPEG, quality 75": ("JPEG", {"quality": 75}),
    }
    survivals = []
    for k, (name, how) in enumerate(formats.items()):
        progress.tell(k / len(formats), name)
        data = encode(x[0], how[0], **how[1]) if how else b""
        seen = _read_back(data, x)
        untouched = _read_back(encode(clean[0], how[0], **how[1]) if how else b"", clean)
        logits, control = (logits_of(model, picture)[0] for picture in (seen, untouched))
        success = bool(Goal(goal.labels.cpu(), goal.targeted).reached(logits.argmax().unsqueeze(0))[0])
        survivals.append(Survival(name, data, logits, control, success, (seen - clean).abs().max().item()))
    return tuple(survivals)


def _read_back(data: bytes, x: Tensor) -> Tensor:
    """The image in a file, or x itself where there is no file."""
    if not data:
        return x
    with Image.open(io.BytesIO(data)) as picture:
        return from_picture(picture).to(x)
