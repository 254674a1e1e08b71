"""The lab's own architectures: builders from an image shape and a number of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.models.capsnet import CapsNet
from lab.types import ModelError

Shape = tuple[int, int, int]
"""(channels, height, width) of one image."""


def softmax(shape: Shape, classes: int) -> nn.Module:
    """Softmax regression: one linear layer on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(_pixels(shape), classes))


def mlp(shape: Shape, classes: int, widths: Sequence[int] = (100, 100)) -> nn.Module:
    """The fully connected net with two hidden layers of 100 units.

    Source: Szegedy et al. 2013, "FC100-100-10".
    Deviation: ReLU instead of sigmoid units.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip((_pixels(shape), *widths), widths, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


class Maxout(nn.Module):
    """A layer of units that each answer the largest of several linear functions: [N,inputs] -> [N,units].

    Source: Goodfellow et al. 2013, "Maxout networks".
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """The largest piece of each unit."""
        out: Tensor = self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)
        return out


def maxout(shape: Shape, classes: int, units: int = 240, pieces: int = 5) -> nn.Module:
    """Two maxout layers with dropout on the pixels and on both layers.

    Source: Goodfellow et al. 2015, section 4: 240 units of 5 pieces, twice.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.2),
        Maxout(_pixels(shape), units, pieces),
        nn.Dropout(0.5),
        Maxout(units, units, pieces),
        nn.Dropout(0.5),
        nn.Linear(units, classes),
    )


class RBF(nn.Module):
    """Radial units exp(-|x - centre|^2 / width^2), and class scores that are weighted sums of them.

    Far from every centre all units are silent, all scores equal zero and every class gets the same probability: the
    net is sure only near what it knows.

    Source: Goodfellow et al. 2015, section 7, "shallow RBF network".
    Deviation: the paper leaves the form for many classes open; here it is a softmax of the sums, with scalar widths.
    """

    def __init__(self, shape: Shape, classes: int, units: int = 400) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.rand(units, _pixels(shape)))
        self.log_width = nn.Parameter(torch.full((units,), 0.5 * _pixels(shape) ** 0.5).log())
        self.scores = nn.Parameter(torch.zeros(classes, units))

    def forward(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W] -> logits [N,classes]."""
        out: Tensor = F.linear(self.units(x), self.scores)
        return out

    def units(self, x: Tensor) -> Tensor:
        """How strongly each radial unit answers, [N,units] in [0,1]."""
        x = x.flatten(1)
        squared = (x * x).sum(1, keepdim=True) - 2 * x @ self.centres.T + (self.centres**2).sum(1)
        return torch.exp(-squared.clamp(min=0) / torch.exp(2 * self.log_width))

    @torch.no_grad()
    def place(self, x: Tensor, y: Tensor, rng: torch.Generator) -> None:
        """Starts the centres at images drawn from x, with the mean distance between neighbours as widths, and lets each
        unit speak for its image's class.
        """
        units = len(self.centres)
        chosen = torch.randperm(len(x), generator=rng)[:units].to(x.device)
        self.centres[: len(chosen)] = x[chosen].flatten(1)
        gaps = torch.cdist(self.centres, self.centres) + torch.eye(units, device=x.device) * 1e9
        self.log_width.fill_(gaps.amin(1).mean().log())
        self.scores.zero_()
        self.scores[y[chosen], torch.arange(len(chosen), device=x.device)] = 5.0


def cnn(
    shape: Shape, classes: int, channels: Sequence[int] = (32, 64, 64), hidden: int = 128, dropout: float = 0.0
) -> nn.Module:
    """Three convolutions, two of them strided instead of pooled, and one hidden layer.

    Source: in the style of the MNIST nets of Madry et al. 2018 and Zhang et al. 2019 (TRADES), small enough to ship.
    """
    first, second, third = channels
    features = nn.Sequential(
        nn.Conv2d(shape[0], first, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(second, third, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    inputs = third * (shape[1] // 4) * (shape[2] // 4)
    return nn.Sequential(
        *features, nn.Dropout(dropout), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


def cnn_wide(shape: Shape, classes: int) -> nn.Module:
    """The `cnn` with twice the channels in its last convolution; adversarial training needs the capacity."""
    return cnn(shape, classes, channels=(32, 64, 128))


def cnn_small(shape: Shape, classes: int) -> nn.Module:
    """The `cnn` with a quarter of its channels."""
    return cnn(shape, classes, channels=(16, 16, 16), hidden=64)


def capsnet(shape: Shape, classes: int, **options: int) -> nn.Module:
    """Capsules with dynamic routing; see `lab.models.capsnet`."""
    return CapsNet(shape, classes, **options)


class Block(nn.Module):
    """Two convolutions and a shortcut, normalised and activated before each convolution: [N,before,..] -> [N,after,..].

    Source: He et al. 2016, "Identity mappings in deep residual networks".
    Deviation: group instead of batch normalisation, so that an image's logits never depend on its batch.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, before), nn.GroupNorm(8, after)
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The shortcut plus what the two convolutions add."""
        h = F.relu(self.norm1(x))
        residual: Tensor = self.conv2(F.relu(self.norm2(self.conv1(h))))
        return residual + (x if isinstance(self.shortcut, nn.Identity) else self.shortcut(h))


def resnet(shape: Shape, classes: int, width: int = 32, blocks: int = 2) -> nn.Module:
    """A small residual net of three stages, each half as large and twice as wide as the one before."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1, bias=False)]
    channels = width
    for stage in range(3):
        for i in range(blocks):
            after = width * 2**stage
            layers.append(Block(channels, after, stride=2 if stage and i == 0 else 1))
            channels = after
    head = [nn.GroupNorm(8, channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers, *head)


def wide_resnet(shape: Shape, classes: int) -> nn.Module:
    """The `resnet` twice as wide and twice as deep, for a GPU.

    Source: in the style of Zagoruyko and Komodakis 2016, "Wide residual networks": 28 layers, 4 times as wide.
    """
    return resnet(shape, classes, width=64, blocks=4)


NETS: Mapping[str, Callable[..., nn.Module]] = {
    "softmax": softmax,
    "mlp": mlp,
    "maxout": maxout,
    "rbf": RBF,
    "cnn": cnn,
    "cnn_wide": cnn_wide,
    "cnn_small": cnn_small,
    "capsnet": capsnet,
    "resnet": resnet,
    "wide_resnet": wide_resnet,
}
"""Architecture -> builder(shape, classes, **options); each net maps images [N,C,H,W] in [0,1] to logits [N,classes]."""


def build(architecture: str, shape: Shape, classes: int, *, seed: int = 0, **options: Any) -> nn.Module:
    """A net with fresh weights; the same seed gives the same weights and global random state stays as it was.

    Raises:
        ModelError: for an unknown architecture or option, or a shape that does not fit it.
    """
    if architecture not in NETS:
        raise ModelError(f"there is no architecture '{architecture}': choose one of {', '.join(NETS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return NETS[architecture](shape, classes, **options)
        except (TypeError, ValueError, RuntimeError) as e:
            raise ModelError(f"{architecture} cannot be built for images {list(shape)} with {options}: {e}") from e


def count_parameters(net: nn.Module) -> int:
    """How many numbers the net has learned."""
    return sum(p.numel() for p in net.parameters())


def _pixels(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]
