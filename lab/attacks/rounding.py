"""What rounding does to the bounds of an attack, and what is done against it."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.attacks.norms import LENGTHS, box, per_row


def bounded(x: Tensor, clean: Tensor, eps: float | Tensor, norm: str) -> Tensor:
    """The images [N,C,H,W], within an attack's bound where rounding led out of it; the same tensor where it did not."""
    if norm == "linf":
        low, high = box(clean, eps)
        return x if ((x >= low) & (x <= high)).all() else x.clamp(low, high)
    if norm not in LENGTHS:
        return x
    for _ in range(8):
        size = LENGTHS[norm](x.double() - clean.double())
        over = (size > eps) | (size.to(x.dtype).double() > eps)  # measured exactly, or as it is told
        if not over.any():
            break
        share = torch.where(over, eps / size * (1 - 1e-6), 1.0).to(x)
        x = torch.where(per_row(over, x), (clean + (x - clean) * per_row(share, x)).clamp(0, 1), x)
    return x


def rounded(x: Tensor, clean: Tensor, dtype: torch.dtype, eps: float | None, norm: str) -> Tensor:
    """Images [N,C,H,W] with values of a half precision: the nearest; towards the clean ones where those break a bound.

    Args:
        x: float32 images in [0,1].
        clean: those that they were made of, with values of that precision.
        dtype: the half precision.
        eps: the bound of the perturbation; None where there is none.
        norm: in which it is measured.

    Returns:
        In float32.
    """
    near = x.to(dtype).to(x)
    if eps is None or norm not in LENGTHS:
        return near
    d = near.double() - clean.double()
    over = d.abs() > eps if norm == "linf" else per_row(LENGTHS[norm](d) > eps, d).expand_as(d)
    return torch.where(over, towards(x, clean, dtype), near)


def towards(x: Tensor, clean: Tensor, dtype: torch.dtype) -> Tensor:
    """Images [N,C,H,W] in [0,1] rounded to a half precision, no value farther from the clean one than before."""
    near = x.to(dtype)
    beyond = (near.to(clean) - clean).abs() > (x - clean).abs()
    down = (clean < near.to(clean)).to(torch.int16) * 2 - 1
    # numbers from 0 up are in the order of their bits, so that the next one is one bit away
    next_one = (near.view(torch.int16) - down).view(dtype)
    return torch.where(beyond, next_one, near).to(x)
