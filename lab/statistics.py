"""Shares, and how sure one is of them."""

from __future__ import annotations

from scipy.stats import binomtest
from torch import Tensor


def share(hits: Tensor) -> float | None:
    """The share of True in a tensor of bool, of any shape; None where it is empty, as there is no share of none."""
    return float(hits.double().mean()) if hits.numel() else None


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share, from how many of how many (Wilson); everything is possible where there were none."""
    if not of:
        return 0.0, 1.0
    interval = binomtest(hits, of).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)
