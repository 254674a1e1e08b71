"""Textbook loops to compare the lab with, written from the formulas of the papers and from nothing else.

Each takes a model, images x [N,C,H,W], and the classes y [N] to leave, or, if targeted, to reach.
"""

import torch
from torch.nn.functional import cross_entropy


def gradient(model, x, y):
    """The gradient of J(x, y), per image."""
    x = x.detach().clone()
    x.requires_grad = True
    cross_entropy(model(x), y, reduction="sum").backward(inputs=[x])
    return x.grad


def per_image(values):
    return values.reshape(-1, 1, 1, 1)


def step(g, alpha, norm, targeted):
    """Up the loss of the true class, or down the loss of the target class."""
    unit = g.sign() if norm == "linf" else g / per_image(g.square().sum(dim=(1, 2, 3)).sqrt())
    return -alpha * unit if targeted else alpha * unit


def clip(x_new, x, eps, norm):
    """Kurakin et al. 2016, eq. 2: min(1, x + eps, max(0, x - eps, x')); in L2, shrink to the sphere and clip."""
    zero, one = torch.zeros(()), torch.ones(())
    if norm == "linf":
        low = torch.maximum(zero, torch.maximum(x - eps, x_new))
        return torch.minimum(one, torch.minimum(x + eps, low))
    length = per_image((x_new - x).square().sum(dim=(1, 2, 3)).sqrt())
    on_sphere = x + (x_new - x) / length * eps
    return torch.where(length > eps, on_sphere, x_new).clip(0, 1)


def fgsm(model, x, y, eps, norm="linf", targeted=False):
    """Goodfellow et al. 2015: x' = x + eps sign grad J."""
    return clip(x + step(gradient(model, x, y), eps, norm, targeted), x, eps, norm)


def bim(model, x, y, eps, alpha, steps, norm="linf", targeted=False):
    """Kurakin et al. 2016."""
    return pgd(model, x, y, eps, alpha, steps, start=x, norm=norm, targeted=targeted)


def pgd(model, x, y, eps, alpha, steps, start, norm="linf", targeted=False):
    """Madry et al. 2018, from a given start."""
    now = start
    for _ in range(steps):
        now = clip(now + step(gradient(model, now, y), alpha, norm, targeted), x, eps, norm)
    return now


def mi_fgsm(model, x, y, eps, alpha, steps, mu, norm="linf", targeted=False):
    """Dong et al. 2018, algorithm 1: g <- mu g + grad / |grad|_1."""
    now, g = x, torch.zeros_like(x)
    for _ in range(steps):
        new = gradient(model, now, y)
        g = mu * g + new / per_image(new.abs().sum(dim=(1, 2, 3)))
        now = clip(now + step(g, alpha, norm, targeted), x, eps, norm)
    return now


def ni_fgsm(model, x, y, eps, alpha, steps, mu, scales=1):
    """Lin et al. 2020, algorithms 1 and 2, L-infinity: the gradient at x + alpha mu g, averaged over x / 2^i."""
    now, g = x, torch.zeros_like(x)
    for _ in range(steps):
        ahead = now + alpha * mu * g
        mean = sum(gradient(lambda z, i=i: model(z / 2**i), ahead, y) for i in range(scales)) / scales
        g = mu * g + mean / per_image(mean.abs().mean(dim=(1, 2, 3)))
        now = clip(now + alpha * g.sign(), x, eps, "linf")
    return now


def vmi_fgsm(model, x, y, eps, alpha, steps, mu, neighbours, beta, rng):
    """Wang and He 2021, algorithm 1, L-infinity; each neighbour's offset is the same for all images."""
    now, g, v = x, torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(steps):
        here = gradient(model, now, y)
        tuned = here + v
        g = mu * g + tuned / per_image(tuned.abs().mean(dim=(1, 2, 3)))
        offsets = [beta * eps * (2 * torch.rand((1, *x.shape[1:]), generator=rng) - 1) for _ in range(neighbours)]
        v = sum(gradient(model, now + r, y) for r in offsets) / neighbours - here
        now = clip(now + alpha * g.sign(), x, eps, "linf")
    return now
