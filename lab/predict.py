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
    """Logits [N,K] for images [N,C,H,W], on the CPU, without gradients.

    Args:
        model: images -> logits; one in training mode is asked as a copy in eval mode.
        x: at least one image.
        rows: how many images are asked at once.
        progress: hears the share that is done after every chunk.

    Raises:
        ModelError: where the model cannot take the images, or what it answers are no logits, or none that are finite.
        Cancelled: where the work is to stop.
    """
    asking = usable(model, x)
    device = devices.of(asking, x)
    answers = []
    with torch.no_grad():
        for i in range(0, len(x), rows):
            part = x[i : i + rows].to(device)
            logits = asked(asking, part)
            check_logits(logits, len(part))
            answers.append(logits.cpu())
            progress.tell((i + rows) / len(x))
    return torch.cat(answers)


def classes_of(model: Model, x: Tensor, *, rows: int = ROWS) -> Tensor:
    """The classes that a model sees in images [N,C,H,W], int64 [N], on the CPU."""
    return logits_of(model, x, rows=rows).argmax(1)
