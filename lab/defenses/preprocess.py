"""Transformations of the input as a defense, with an honest choice of what gradients go through them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import torch
from kornia.filters import gaussian_blur2d
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lab.answers import Answer
from lab.defenses.spec import DefenseSpec
from lab.gate import Around
from lab.images import encode, from_picture
from lab.params import param
from lab.types import Model, Paper, ParamError

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


class Preprocessed(Around):
    """A model that sees transformed images: still images -> logits.

    Source: backward pass differentiable approximation: Athalye, Carlini and Wagner 2018, section 4.1.

    Attributes:
        model: what answers.
        transform: applied to every image first.
        backward: "exact" for the derivative of the transformation, "bpda" for the identity in its place.
    """

    def __init__(self, model: Model, transform: Transform, backward: Backward = "exact") -> None:
        super().__init__(model)
        if backward not in ("exact", "bpda"):
            raise ParamError(f"backward must be 'exact' or 'bpda', not {backward!r}")
        self.transform, self.backward = transform, backward

    def restart(self) -> None:
        """Begins the random numbers of the transformation anew; the driver does so before each attack."""
        if isinstance(self.transform, Drawn):
            self.transform.restart()

    def answer(self, x: Tensor) -> Answer:
        """The model's answer for the transformed images."""
        if self.backward == "exact":
            return Answer.of(self.model, self.transform(x))
        passed: Tensor = _StraightThrough.apply(x, self.transform(x.detach()))  # type: ignore[no-untyped-call]
        return Answer.of(self.model, passed)


class Drawn:
    """A random transformation with random numbers of its own, whose sequence can begin anew."""

    def __init__(self, make: Callable[[Tensor, torch.Generator], Tensor], seed: int) -> None:
        self.make, self.seed, self.rng = make, seed, torch.Generator()
        self.restart()

    def __call__(self, x: Tensor) -> Tensor:
        """The next look at images [N,C,H,W]."""
        return self.make(x, self.rng)

    def restart(self) -> None:
        """Begins anew."""
        self.rng.manual_seed(self.seed)


def staircase(x: Tensor, bits: int = 8) -> Tensor:
    """Images rounded to 2^bits levels: what they look like hardly changes, but the derivative is 0 everywhere.

    Source: Goodfellow 2018, "Gradient masking causes CLEVER to overestimate adversarial perturbation size" (a staircase
        function put before a network); Xu et al. 2018, section 2.1 (bit depth, as feature squeezing).
    """
    levels: int = 2**bits - 1
    return (x * levels).round() / levels


@dataclass(frozen=True)
class BitDepth:
    """Fewer levels of each value.

    Source: Xu, Evans and Qi 2018, section 2.1.
    """

    bits: int = param(1, bounds=(1, 8), unit="bits", help="Of each value; 8 are those of a picture file.")

    def __call__(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W] with 2^bits levels."""
        return staircase(x, self.bits)


FEATURE_SQUEEZING = Paper(
    "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", "Xu, Evans, Qi", 2018, "1704.01155"
)
BIT_DEPTH = DefenseSpec(
    "bit_depth", "Bit depth", "Fewer levels of each value.", (FEATURE_SQUEEZING,), BitDepth, exact=False
)


@dataclass(frozen=True)
class Jpeg:
    """Each image compressed as a JPEG file and opened again.

    Source: Dziugaite, Ghahramani and Roy 2016, "A study of the effect of JPG compression on adversarial images".
    """

    quality: int = param(50, bounds=(1, 95), help="Of the file: low means small and coarse.")

    def __call__(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W] as they come out of the files; without a gradient."""
        read = [from_picture(Image.open(BytesIO(encode(one, "JPEG", quality=self.quality)))) for one in x]
        return torch.cat(read).to(x) if read else x


JPEG = DefenseSpec(
    "jpeg",
    "JPEG",
    "Compressed as a JPEG file and opened again.",
    (
        Paper(
            "A Study of the Effect of JPG Compression on Adversarial Images",
            "Dziugaite, Ghahramani, Roy",
            2016,
            "1608.00853",
        ),
    ),
    Jpeg,
    exact=False,
)


@dataclass(frozen=True)
class Median:
    """The median of each pixel's neighbourhood.

    Source: Xu, Evans and Qi 2018, section 2.2.
    """

    size: int = param(3, bounds=(2, 7), unit="pixels", help="Side of the neighbourhood.")

    def __call__(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W], mirrored beyond their edges; of two middle values the larger, as in `scipy.ndimage`."""
        left = self.size // 2
        padded = _mirrored(x, left, self.size - 1 - left)
        around = padded.unfold(2, self.size, 1).unfold(3, self.size, 1).flatten(4)
        return around.kthvalue(self.size**2 // 2 + 1, 4).values


def _mirrored(x: Tensor, before: int, after: int) -> Tensor:
    """Images [N,C,H,W] with rows and columns mirrored beyond their edges, the outermost ones repeated."""
    for dim in (2, 3):
        n = x.shape[dim]
        place = torch.arange(-before, n + after, device=x.device) % (2 * n)
        x = x.index_select(dim, torch.where(place < n, place, 2 * n - 1 - place))
    return x


MEDIAN = DefenseSpec("median", "Median", "The median of each pixel's neighbourhood.", (FEATURE_SQUEEZING,), Median)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian blur."""

    sigma: float = param(1.0, bounds=(0.1, 5), unit="pixels", help="Standard deviation of the blur.")

    def __call__(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W], mirrored beyond their edges."""
        side = 2 * min(math.ceil(3 * self.sigma), min(x.shape[-2:]) - 1) + 1
        blurred: Tensor = gaussian_blur2d(x, (side, side), (self.sigma, self.sigma))
        return blurred.clamp(0, 1)


GAUSSIAN = DefenseSpec("gaussian", "Gaussian blur", "A Gaussian blur.", (FEATURE_SQUEEZING,), Gaussian)


@dataclass(frozen=True)
class TotalVariation:
    """The image of small total variation that is nearest: noise goes, edges stay.

    Source: Guo et al. 2018, "Countering adversarial images using input transformations"; the algorithm: Chambolle 2004,
        accelerated as by Beck and Teboulle 2009 (fast gradient projection).
    Deviation: all pixels count, without the random mask of Guo et al.
    """

    weight: float = param(0.1, bounds=(1e-3, 2), help="Of the total variation against the squared distance / 2.")
    steps: int | None = param(
        None,
        bounds=(1, 500),
        advanced=True,
        help="Of the dual projection. Automatic: 30 at a weight of 0.1, growing with its square root.",
    )

    def __call__(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W]."""
        p = ahead = torch.zeros(2, *x.shape, dtype=x.dtype, device=x.device)
        t = 1.0
        for _ in range(self.steps or math.ceil(30 * max(1.0, self.weight / 0.1) ** 0.5)):
            before, p = p, ahead + STEP * _differences(_divergence(ahead) - x / self.weight)
            p = p / p.square().sum(0).clamp(min=1).sqrt()
            t, last = (1 + math.sqrt(1 + 4 * t * t)) / 2, t
            ahead = p + (last - 1) / t * (p - before)
        return (x - self.weight * _divergence(p)).clamp(0, 1)


TOTAL_VARIATION = DefenseSpec(
    "tv",
    "Total variation",
    "The nearest image of small total variation.",
    (
        Paper(
            "Countering Adversarial Images using Input Transformations",
            "Guo, Rana, Cisse, van der Maaten",
            2018,
            "1711.00117",
        ),
    ),
    TotalVariation,
)


STEP = 1 / 8
"""Step size of the dual projection, per unit: the longest for which it is shown to converge."""


def _differences(u: Tensor) -> Tensor:
    """Differences to the next pixel down and to the right [2,N,C,H,W], 0 at the edge."""
    return torch.stack([F.pad(u[..., 1:, :] - u[..., :-1, :], (0, 0, 0, 1)), F.pad(u[..., 1:] - u[..., :-1], (0, 1))])


def _divergence(p: Tensor) -> Tensor:
    """The negative adjoint of `_differences`."""
    down, right = p
    rows = F.pad(down[..., :-1, :], (0, 0, 0, 1)) - F.pad(down[..., :-1, :], (0, 0, 1, 0))
    return rows + F.pad(right[..., :-1], (0, 1)) - F.pad(right[..., :-1], (1, 0))


@dataclass(frozen=True)
class ResizePad:
    """Each batch scaled down by a random factor and put at a random place of a black frame of the old size.

    Source: Xie et al. 2018, "Mitigating adversarial effects through randomization".
    Deviation: the size stays, so that the model is the same; the paper scales up and pads to a larger one.
    """

    smallest: float = param(0.8, bounds=(0.3, 1), unit="of the side", help="The smallest that an image becomes.")

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Images [N,C,H,W]."""
        height, width = x.shape[-2:]
        share = self.smallest + (1 - self.smallest) * float(torch.rand((), generator=rng))
        h, w = max(1, round(share * height)), max(1, round(share * width))
        top, left = (int(torch.randint(0, room + 1, (), generator=rng)) for room in (height - h, width - w))
        small = F.interpolate(x, (h, w), mode="bilinear", antialias=True).clamp(0, 1)
        return F.pad(small, (left, width - w - left, top, height - h - top))


RESIZE_PAD = DefenseSpec(
    "resize_pad",
    "Random resize and pad",
    "Scaled down by a random factor, at a random place of a black frame.",
    (
        Paper(
            "Mitigating Adversarial Effects Through Randomization", "Xie, Wang, Zhang, Ren, Yuille", 2018, "1711.01991"
        ),
    ),
    ResizePad,
    random=True,
)
