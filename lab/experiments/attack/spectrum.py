"""Frequencies and likeness: the spectrum of a perturbation, and SSIM."""

from __future__ import annotations

import torch
from kornia.metrics import ssim
from torch import Tensor


def spectrum(delta: Tensor) -> Tensor:
    """Amplitudes of a perturbation's 2-D Fourier transform [H,W], averaged over channels, frequency 0 in the centre.

    Args:
        delta: [C,H,W].
    """
    amplitudes: Tensor = torch.fft.fftshift(torch.fft.fft2(delta.float()), dim=(-2, -1)).abs().mean(0)
    return amplitudes


def similarity(x: Tensor, clean: Tensor) -> float:
    """Structural similarity (SSIM) of two images [1,C,H,W], window 11; 1 means equal.

    Source: Wang et al. 2004.
    """
    return float(ssim(x.float(), clean.float(), window_size=11).mean())
