"""Capsule network with dynamic routing, its routing and its reconstruction open to callers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lab.types import TINY


@dataclass(frozen=True)
class Capsules:
    """What happens inside a capsule network for a batch of images.

    Attributes:
        primary: primary capsules [N,I,d], each a part and its pose; their length is below 1.
        votes: what each primary capsule says about each class capsule [N,I,K,D].
        routing: per iteration, the share of each primary capsule that goes to each class [N,I,K]; sums to 1 over K.
        capsules: class capsules [N,K,D].
        lengths: their lengths [N,K] in [0,1), the network's belief that the class is present.
        logits: log(|s|^2) [N,K] with s the class capsules before squashing, which is the logit of the length.
    """

    primary: Tensor
    votes: Tensor
    routing: tuple[Tensor, ...]
    capsules: Tensor
    lengths: Tensor
    logits: Tensor


def squash(s: Tensor) -> Tensor:
    """Vectors [...,D], direction kept and length |s| turned into |s|^2 / (1 + |s|^2).

    Source: Sabour et al. 2017, equation 1.
    """
    squared = (s * s).sum(-1, keepdim=True)
    return s * (squared.clamp(min=TINY).sqrt() / (1 + squared))


def route(votes: Tensor, iterations: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Routing by agreement: votes [N,I,K,D] -> unsquashed class capsules [N,K,D], and the coefficients per iteration.

    Source: Sabour et al. 2017, procedure 1.
    Deviation: gradients flow through the last iteration only, as in the authors' code; the agreements that lead to the
        coefficients are constants.
    """
    # one matrix product per image and class capsule
    votes = votes.transpose(1, 2).contiguous()  # [N,K,I,D]
    fixed, agreement = votes.detach(), torch.zeros_like(votes[..., :1].detach())  # [N,K,I,1]
    history: list[Tensor] = []
    for i in range(iterations):
        shares = agreement.softmax(1)
        history.append(shares.squeeze(3).transpose(1, 2))
        if i < iterations - 1:
            v = squash(shares.transpose(2, 3) @ fixed)
            agreement = agreement + fixed @ v.transpose(2, 3)
    return (shares.transpose(2, 3) @ votes).squeeze(2), tuple(history)


class CapsNet(nn.Module):
    """Convolution, primary capsules, class capsules by dynamic routing, and a decoder that draws what was seen.

    Source: Sabour et al. 2017, section 4.
    Deviation: 64 convolution channels and 8 types of primary capsules instead of 256 and 32, to be small enough to
        ship. The logits are log(|s|^2) of each class capsule before squashing, that is the logit of its length
        |v| = |s|^2 / (1 + |s|^2): the same order of classes, but not saturated, so that gradients stay useful.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        channels: int = 64,
        types: int = 8,
        pose: int = 8,
        size: int = 16,
        iterations: int = 3,
    ) -> None:
        """Builds the net.

        Args:
            shape: (channels, height, width) of one image.
            classes: how many.
            channels: of the first convolution.
            types: kinds of primary capsules at each place.
            pose: numbers in a primary capsule.
            size: numbers in a class capsule.
            iterations: of the routing.

        Raises:
            ValueError: if the image is too small for two convolutions of 9 x 9.
        """
        super().__init__()
        if min(shape[1:]) < 17:
            raise ValueError("a capsule network needs images of at least 17 x 17 pixels")
        self.shape, self.pose, self.iterations = shape, pose, iterations
        self.conv = nn.Conv2d(shape[0], channels, 9)
        self.primary = nn.Conv2d(channels, types * pose, 9, stride=2)
        places = ((shape[1] - 15) // 2) * ((shape[2] - 15) // 2)
        self.transform = nn.Parameter(torch.randn(types * places, classes, size, pose) * 0.1)
        widths = (classes * size, 512, 1024, shape[0] * shape[1] * shape[2])
        hidden = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.decoder = nn.Sequential(*hidden[:-1], nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W] in [0,1] -> logits [N,K]: log(|s|^2) of the class capsules."""
        return self.explore(x).logits

    def explore(self, x: Tensor, iterations: int | None = None) -> Capsules:
        """Everything between the images [N,C,H,W] and the logits, with another number of iterations where given."""
        primary = self.primary_capsules(x)
        with torch.autocast(x.device.type, enabled=False):  # agreement is a sum of many small numbers
            votes = self.votes(primary)
            s, routing = route(votes, iterations or self.iterations)
            v = squash(s)
            squared = (s * s).sum(2)
        return Capsules(primary, votes, routing, v, squared / (1 + squared), squared.clamp(min=TINY).log())

    def primary_capsules(self, x: Tensor) -> Tensor:
        """Images [N,C,H,W] -> primary capsules [N,I,d]."""
        h: Tensor = self.primary(torch.relu(self.conv(x)))
        poses = h.unflatten(1, (-1, self.pose)).permute(0, 1, 3, 4, 2)
        return squash(poses.flatten(1, 3).float())

    def votes(self, primary: Tensor) -> Tensor:
        """Primary capsules [N,I,d] -> their votes for the class capsules [N,I,K,D]."""
        return torch.einsum("ikdp,nip->nikd", self.transform, primary)

    def reconstruct(self, capsules: Tensor, labels: Tensor) -> Tensor:
        """Images [N,C,H,W] in [0,1] drawn from the capsule of one class each.

        Args:
            capsules: class capsules [N,K,D].
            labels: the class whose capsule to draw, int64 [N]; the others are masked out.
        """
        rows = torch.arange(len(labels), device=labels.device)
        mask = torch.zeros_like(capsules)
        mask[rows, labels] = 1
        drawn: Tensor = self.decoder((capsules * mask).flatten(1)).unflatten(1, self.shape)
        return drawn
