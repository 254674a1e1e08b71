"""Transformations of the input as a defense, with an honest choice of what gradients go through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lab.types import Model, ParamError

Transform = Callable[[Tensor], Tensor]
"""Images [N,C,H,W] in [0,1] -> images of the same shape."""
Backward = Literal["exact", "bpda"]
"""What an attacker's gradients do at a transformation: take its own derivative, or pass as if it were not there."""


class _StraightThrough(torch.autograd.Function):
    """The transformation on the way forward, the identity on the way back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, transformed: Tensor) -> Tensor:
        return transformed.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Nothing is needed for the way back."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Preprocessed(nn.Module):
    """A model that sees transformed images: still images -> logits.

    Source: backward pass differentiable approximation: Athalye, Carlini and Wagner 2018, section 4.1.

    Attributes:
        model: what answers.
        transform: applied to every image first.
        backward: "exact" for the derivative of the transformation, "bpda" for the identity in its place.
    """

    def __init__(self, model: Model, transform: Transform, backward: Backward = "exact") -> None:
        super().__init__()
        if backward not in ("exact", "bpda"):
            raise ParamError(f"backward must be 'exact' or 'bpda', not {backward!r}")
        self.model, self.transform, self.backward = model, transform, backward
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,K]."""
        if self.backward == "exact":
            return self.model(self.transform(x))
        passed: Tensor = _StraightThrough.apply(x, self.transform(x.detach()))  # type: ignore[no-untyped-call]
        return self.model(passed)


def staircase(x: Tensor, bits: int = 8) -> Tensor:
    """Images rounded to 2^bits levels: what they look like hardly changes, but the derivative is 0 everywhere.

    Source: Goodfellow 2018, "Gradient masking causes CLEVER to overestimate adversarial perturbation size" (a staircase
        function put before a network); Xu et al. 2018, section 2.1 (bit depth, as feature squeezing).
    """
    levels: int = 2**bits - 1
    return (x * levels).round() / levels
