"""Randomized smoothing: the class that a model names most often under Gaussian noise, and how far that is certain.

Source: Cohen, Rosenfeld and Kolter 2019, "Certified adversarial robustness via randomized smoothing".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest, norm
from torch import Tensor
from torch.nn import functional as F

from lab import devices
from lab.answers import Answer
from lab.gate import (
    Around,
    asked,
    check_images,
    check_logits,
    check_number,
    check_seed,
    check_whole,
    usable,
)
from lab.progress import SILENT, Cancelled, Progress
from lab.types import Model, ParamError

ABSTAIN = -1
"""The answer where the votes do not decide."""
ALPHA = 0.001
"""The chance of a wrong answer or certificate, where no other is asked for."""
AT_ONCE = 1000
"""Noisy copies of one image that are classified together."""


@dataclass(frozen=True)
class Certified:
    """What smoothing answers, and what of it is certain.

    Attributes:
        classes: the smoothed class, ABSTAIN where it is not certain to be the most frequent one [N].
        radius: L2 distance within which that class cannot change; 0 where there is no certificate [N].
        share: the lower bound of how often the class is named, true with probability 1 - alpha [N].
        votes: how often each class was named [N,K].
    """

    classes: Tensor
    radius: Tensor
    share: Tensor
    votes: Tensor

    def accuracy(self, y: Tensor, radius: float) -> float:
        """The share of images of class y [N] that are certainly classed right within a radius."""
        return float(((self.classes == y) & (self.radius >= radius)).double().mean())


def predict(
    model: Model,
    x: Tensor,
    *,
    sigma: float,
    n: int = 1000,
    alpha: float = ALPHA,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Tensor:
    """The class [N] that a model names most often under noise, or ABSTAIN where chance might have decided.

    Args:
        model: images -> logits.
        x: images [N,C,H,W].
        sigma: standard deviation of the noise; noisy images are not clipped.
        n: looks at each image.
        alpha: chance of an answer that is not the most frequent class.
        seed: of the noise, which is the same for every image.
        progress: hears of every image; where it stops the work, the images that are left are told as ABSTAIN.

    Returns:
        On the images' device.

    Source: PREDICT of Cohen et al. 2019.

    Raises:
        ImageError, ModelError: for images or a model that cannot be used.
        ParamError: for sizes that make no sense.
    """
    _check(sigma, {"n": n}, alpha)
    seed = check_seed(seed)
    x = check_images(x)
    model, out = usable(model, x), torch.full((len(x),), ABSTAIN)
    try:
        for i in range(len(x)):
            progress.tell(i / len(x))
            counts, named = votes(model, x[i], sigma, n, seed).topk(2)
            if binomtest(int(counts[0]), int(counts.sum()), 0.5).pvalue <= alpha:
                out[i] = named[0]
    except Cancelled:
        pass
    return out.to(x.device)


def certify(
    model: Model,
    x: Tensor,
    *,
    sigma: float,
    n: int = 2000,
    n0: int = 100,
    alpha: float = ALPHA,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Certified:
    """The smoothed class of each image, and the L2 radius within which it is certain with probability 1 - alpha.

    Args:
        model: images -> logits.
        x: images [N,C,H,W].
        sigma: standard deviation of the noise; noisy images are not clipped.
        n: looks at each image, for the certificate.
        n0: looks before, to choose the class.
        alpha: chance of a wrong certificate.
        seed: of the noise, which is the same for every image.
        progress: hears of every image; where it stops the work, what there is is returned.

    Returns:
        For the images that were done, on the images' device.

    Source: CERTIFY of Cohen et al. 2019: radius sigma Phi^-1(p) with p the exact (Clopper-Pearson) lower bound.

    Raises:
        ImageError, ModelError: for images or a model that cannot be used.
        ParamError: for sizes that make no sense.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 2))
        >>> certified = lab.certify(lab.load_model("mnist/softmax"), digits.x, sigma=0.25, n=500)
        >>> certified.classes.tolist(), (certified.radius > 0.4).tolist()
        ([0, 6], [True, True])
    """
    _check(sigma, {"n": n, "n0": n0}, alpha)
    seed = check_seed(seed)
    x = check_images(x)
    model = usable(model, x)
    classes, radii, shares, counted = [], [], [], []
    try:
        for i in range(len(x)):
            chosen = int(votes(model, x[i], sigma, n0, seed).argmax())
            counts = votes(model, x[i], sigma, n, seed + 1)
            low = binomtest(int(counts[chosen]), n).proportion_ci(1 - 2 * alpha, "exact").low  # one-sided
            classes.append(chosen if low > 0.5 else ABSTAIN)
            radii.append(sigma * float(norm.ppf(low)) if low > 0.5 else 0.0)
            shares.append(float(low))
            counted.append(counts)
            progress.tell((i + 1) / len(x))
    except Cancelled:
        pass
    none = torch.zeros((0, 0), dtype=torch.int64)
    measured = (
        torch.tensor(classes),
        torch.tensor(radii),
        torch.tensor(shares),
        torch.stack(counted) if counted else none,
    )
    return Certified(*(each.to(x.device) for each in measured))


def joined(parts: Sequence[Certified]) -> Certified:
    """Certificates of several groups of images as one."""
    names = ("classes", "radius", "share", "votes")
    return Certified(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def largest_radius(sigma: float, n: int, alpha: float) -> float:
    """The radius that n looks certify where all of them agree: sigma Phi^-1(alpha^(1/n))."""
    return sigma * float(norm.ppf(alpha ** (1 / n)))


def votes(model: Model, x: Tensor, sigma: float, n: int, seed: int) -> Tensor:
    """How often each class is named over n noisy copies of an image [C,H,W], int64 [K], on the CPU."""
    model = usable(model, x)
    device, rng = devices.of(model, x[None]), torch.Generator().manual_seed(seed)
    x = x.to("cpu", model.computed)

    def named(noisy: Tensor) -> Tensor:
        with torch.no_grad(), devices.full_precision():
            logits = asked(model, noisy.to(device))
        check_logits(logits, len(noisy))
        return F.one_hot(logits.argmax(1), logits.shape[1]).sum(0).cpu()

    total: Tensor | None = None
    for start in range(0, n, AT_ONCE):
        noisy = x + sigma * torch.randn((min(AT_ONCE, n - start), *x.shape), generator=rng)
        for counted in devices.in_parts(noisy, len(noisy), named):
            total = counted if total is None else total + counted
    if total is None:
        raise ParamError("at least one look at the image is needed")
    return total


def _check(sigma: float, looks: Mapping[str, int], alpha: float) -> None:
    check_number(sigma, "sigma")
    check_number(alpha, "alpha", 0, 0.5)
    for what, n in looks.items():
        check_whole(n, what)


class Smoothed(Around):
    """A model under noise as an attacker looks at it who expects the noise: the mean of its answers over some draws.

    Still a model, images -> logits (the logarithm of the mean softmax), with gradients; every look draws anew.

    Source: Salman et al. 2019, "Provably robust deep learning via adversarially trained smoothed classifiers", the
        SmoothAdv objective.
    """

    def __init__(self, model: Model, sigma: float, draws: int = 16, seed: int = 0) -> None:
        super().__init__(model)
        _check(sigma, {"draws": draws}, 0.1)
        self.sigma, self.draws, self.seed = sigma, draws, check_seed(seed)
        self.rng = torch.Generator().manual_seed(self.seed)

    def restart(self) -> None:
        """Begins the random numbers anew; the driver does so before each attack."""
        self.rng.manual_seed(self.seed)

    def answer(self, x: Tensor) -> Answer:
        """The model's mean answer under noise."""
        looks = [x + self.sigma * torch.randn(x.shape, generator=self.rng).to(x) for _ in range(self.draws)]
        return Answer.of(self.model, torch.cat(looks)).map(self._mean)

    def _mean(self, logits: Tensor) -> Tensor:
        """The logarithm of the mean softmax [N,K] of all draws [draws * N,K]."""
        mean: Tensor = logits.log_softmax(1).unflatten(0, (self.draws, -1)).logsumexp(0) - math.log(self.draws)
        return mean
