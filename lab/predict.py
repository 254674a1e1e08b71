"""What a model answers for images, in chunks that fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor

from lab import devices
from lab.gate import asked, check_logits, usable
from lab.progress import SILENT, Progress
from lab.types import Model

ROWS = 256
"""How many images are asked at once."""


def logits_of(model: Model, x: Tensor, *, rows: int = ROWS, progress: Progress = SILENT) -> Tensor:
    """Logits [N,K] for images [N,C,H,W], on the CPU, without gradients, in full precision.

    Args:
        model: images -> logits; one in training mode is asked as a copy in eval mode.
        x: at least one image.
        rows: how many images are asked at once, fewer where the memory is short.
        progress: hears the share that is done after every chunk.

    Raises:
        ModelError: where the model cannot take the images, or what it answers are no logits, or none that are finite.
        Cancelled: where the work is to stop.
    """
    asking, answers = usable(model, x), list[Tensor]()

    def answer(part: Tensor) -> Tensor:
        logits = asked(asking, part)
        check_logits(logits, len(part))
        return logits.cpu()

    with torch.no_grad(), devices.full_precision():
        for logits in devices.in_parts(x, rows, answer):
            answers.append(logits)
            progress.tell(sum(map(len, answers)) / len(x))
    return torch.cat(answers)


def classes_of(model: Model, x: Tensor, *, rows: int = ROWS) -> Tensor:
    """The classes that a model sees in images [N,C,H,W], int64 [N], on the CPU."""
    return logits_of(model, x, rows=rows).argmax(1)
