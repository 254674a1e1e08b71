"""Small models with known behaviour, and images for them."""

from __future__ import annotations

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


class Noisy(nn.Module):
    """`Small`, with normal noise of this size on its logits at every look."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.net, self.sigma = Small(), sigma

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.sigma * torch.randn(len(x), 10)


class Linear(nn.Module):
    """logits = Wx + b with fixed random weights, so that every distance to a boundary is known."""

    def __init__(
        self, classes: int = 4, values: int = 192, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.w = nn.Parameter(scale * torch.randn(classes, values, generator=rng, dtype=dtype))
        self.b = nn.Parameter(torch.zeros(classes, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w.T + self.b


def images(n: int, channels: int = 3, size: int = 8, seed: int = 0) -> Tensor:
    """Random images [n,channels,size,size] that stay clear of 0 and 1."""
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1
