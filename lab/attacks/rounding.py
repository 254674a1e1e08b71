"""Images that were computed in float32, in the half precision that they were given in."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.attacks.norms import LENGTHS, per_row


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
