"""Shared fixtures: small models with known behaviour, and thread settings that keep tests quick."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


class Small(nn.Module):
    """A smooth small classifier with fixed random weights; nothing piecewise, so rounding does not flip signs."""

    def __init__(self, channels: int = 3, classes: int = 10, size: int = 8) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(channels * 100 + classes)
        self.conv = nn.Conv2d(channels, 6, 3)
        self.head = nn.Linear(6 * (size - 2) ** 2, classes)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) * (0.5 if p.dim() > 1 else 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x - 0.5)).flatten(1))


@pytest.fixture
def small() -> type[Small]:
    return Small


def images(n: int, channels: int = 3, size: int = 8, seed: int = 0) -> Tensor:
    """Random images [n,channels,size,size] that stay clear of 0 and 1."""
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1
