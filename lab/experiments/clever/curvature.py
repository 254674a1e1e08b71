"""Curvature: how strongly a network bends around an image, from Hessian-vector products."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.attacks.norms import NORMS, per_row
from lab.types import Model, ModelError

KINKS = (nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.MaxPool2d, nn.AdaptiveMaxPool2d)
"""Layers whose second derivative is 0 wherever it exists, so that it tells nothing."""
POINTS = 8
"""Points at which a network is examined for linear pieces."""
ITERATIONS = 100
"""Steps of the power iteration, at most."""
ACCURACY = 1e-3
"""Relative change of the curvature at which it ends."""


def refuse_kinks(model: Model, x: Tensor) -> None:
    """Makes sure that second derivatives say something about a model near images x [N,C,H,W].

    Raises:
        ModelError: for a network with ReLUs or the like, or one that turns out to consist of flat pieces.
    """
    for layer in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(layer, KINKS):
            raise ModelError(
                f"the network has a layer {type(layer).__name__}, whose second derivative is 0: take the first order"
            )
    rng = torch.Generator().manual_seed(0)
    for image in x[:1]:
        z = (image + 0.2 * torch.randn(POINTS, *image.shape, generator=rng).to(x)).clamp(0, 1).requires_grad_()
        with torch.enable_grad():
            logits = model(z)
            way = torch.randn(logits.shape[1], generator=rng).to(logits)
            (slope,) = torch.autograd.grad((logits @ way).sum(), z, create_graph=True)
            bent = torch.autograd.grad(slope.square().sum(), z)[0] if slope.requires_grad else torch.zeros_like(z)
        if not bent.any() and not torch.allclose(slope, slope[:1].expand_as(slope), rtol=1e-3):
            raise ModelError(
                "the network consists of linear pieces, whose second derivative is 0: take the first order"
            )


def curvatures(model: Model, points: Tensor, seen: int, targets: Tensor) -> Tensor:
    """The largest curvature of each target's margin at each point, in any direction [T,rows].

    It is the Hessian's eigenvalue of largest size, by power iteration, all points and targets together.

    Args:
        model: images -> logits.
        points: images [rows,C,H,W].
        seen: the class whose logit the margin begins with.
        targets: classes whose logit it subtracts, int64 [T].
    """
    rows = len(points)
    z = points.detach().repeat(len(targets), 1, 1, 1).requires_grad_()
    with torch.enable_grad():
        logits = model(z)
        if not logits.requires_grad:
            return torch.zeros(len(targets), rows, device=points.device)
        margin = logits[:, seen] - logits.gather(1, targets.repeat_interleave(rows)[:, None])[:, 0]
        (slope,) = torch.autograd.grad(margin.sum(), z, create_graph=True)
    size = torch.zeros(len(z), dtype=z.dtype, device=z.device)
    if not slope.requires_grad:  # a linear network
        return size.view(len(targets), rows)
    v = NORMS["l2"].steepest(
        torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype).to(z.device)
    )
    for _ in range(ITERATIONS):
        (bent,) = torch.autograd.grad(slope, z, v, retain_graph=True)
        before, size = size, bent.flatten(1).norm(dim=1)
        v = bent / per_row(size.clamp(min=torch.finfo(z.dtype).tiny), bent)
        if ((size - before).abs() <= ACCURACY * size).all():
            break
    return size.detach().view(len(targets), rows)
