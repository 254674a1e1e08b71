"""Predictions, in memory-bounded chunks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lab import devices
from lab.types import Model


def predict(model: Model, x: Tensor, watch: Callable[[float], None] = lambda share: None, rows: int = 64) -> Tensor:
    """Logits [N,K] for images [N,C,H,W], on the CPU, without gradients.

    Args:
        model: images -> logits; one in training mode is asked as a copy in eval mode.
        x: at least one image.
        watch: told the share that is done after every chunk.
        rows: images per forward.
    """
    model = devices.in_eval_mode(model)
    device = devices.of(model, x)
    out = []
    with torch.no_grad():
        for i in range(0, len(x), rows):
            out.append(model(x[i : i + rows].to(device)).cpu())
            watch(min(1.0, (i + rows) / len(x)))
    return torch.cat(out)
