"""Training rules: what one batch costs the net, from plain cross-entropy to adversarial training.

A rule is called with the net, a batch and random numbers and answers a loss to descend. Some rules do more, and say so
by the methods they have: `at` (a rule that changes as the training goes on), `replay` (several descents per batch) and
`watch` (a look at the net after each epoch that may end the training).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.attacks.norms import NORMS
from lab.models.capsnet import CapsNet
from lab.params import param
from lab.types import ModelError

Rule = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
"""(net, images [N,C,H,W], classes [N], random numbers) -> the loss to descend, a scalar."""

_EPS: Mapping[str, Any] = {"bounds": (0, 1), "unit": "(pixels lie in [0,1])", "pixels": True}


@runtime_checkable
class Ramped(Protocol):
    """A rule that changes as the training goes on."""

    def at(self, progress: float) -> Rule:
        """The rule for a moment of the training, from 0 at its start to 1 at its end."""


@runtime_checkable
class Replaying(Protocol):
    """A rule that descends several times on one batch."""

    def replay(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Iterator[Tensor]:
        """Losses to descend one after another; each is followed by `backward` and a step before the next is asked."""


@runtime_checkable
class Watching(Protocol):
    """A rule that looks at the net after each epoch."""

    def watch(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> str:
        """Why the training must end and the epoch be undone, or "" if all is well; asked with held images."""


def ascend(
    objective: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, *, eps: float, alpha: float, steps: int
) -> Tensor:
    """Images within eps of x (L-infinity) and in [0,1] on which an objective is large: projected gradient ascent.

    The inner loop of adversarial training, written for speed; the attacks of the catalogue measure, this one trains.

    Args:
        objective: images [N,C,H,W] -> a scalar, the sum over the images.
        x: the clean images [N,C,H,W] in [0,1].
        start: where the ascent begins.
        eps: radius around x.
        alpha: size of one step.
        steps: number of steps.

    Source: Madry et al. 2018, section 2.1.
    """
    norm = NORMS["linf"]
    project = norm.ball(x, eps)
    z = project(start)
    for _ in range(steps):
        z.requires_grad_()
        (g,) = torch.autograd.grad(objective(z), z)
        z = project(z.detach() + alpha * norm.steepest(g))
    return z.detach()


def noise(x: Tensor, eps: float, rng: torch.Generator) -> Tensor:
    """x plus uniform noise in [-eps,eps], drawn for every image by itself."""
    return x + eps * (2 * torch.rand(x.shape, generator=rng).to(x) - 1)


def error(net: nn.Module, y: Tensor) -> Callable[[Tensor], Tensor]:
    """The usual objective: images -> cross-entropy summed over them."""
    return lambda z: F.cross_entropy(net(z).float(), y, reduction="sum")


def perturb(
    net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator, *, eps: float, alpha: float, steps: int
) -> Tensor:
    """PGD from a random start per image: images within eps of x that the net gets wrong if it can be made to."""
    return ascend(error(net, y), x, noise(x, eps, rng), eps=eps, alpha=alpha, steps=steps)


def overfitted(fgsm: float, pgd: float, share: float = 0.5) -> bool:
    """Whether accuracies under FGSM and under PGD tell of catastrophic overfitting: the first is kept, the second lost.

    Args:
        fgsm: accuracy under a single step.
        pgd: accuracy under many.
        share: of the first that the second must keep.

    Source: Wong et al. 2020, who name it.
    """
    return fgsm > 0.3 and pgd < share * fgsm


def _ramp(progress: float, share: float) -> float:
    return min(1.0, progress / share) if share else 1.0


@dataclass(frozen=True)
class Standard:
    """Cross-entropy on the images as they are."""

    smoothing: float = param(0.0, bounds=(0, 0.5), help="Share of each label spread evenly over all classes.")

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy."""
        return F.cross_entropy(net(x).float(), y, label_smoothing=self.smoothing)


@dataclass(frozen=True)
class Noisy:
    """Cross-entropy on the images plus Gaussian noise, drawn anew each time: the base of randomized smoothing.

    Source: Cohen, Rosenfeld and Kolter 2019, section 3.3; the noisy images are not clipped.
    """

    sigma: float = param(0.5, bounds=(0, 4), unit="(pixels lie in [0,1])", help="Standard deviation of the noise.")

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy on the noisy images."""
        return F.cross_entropy(net(x + self.sigma * torch.randn(x.shape, generator=rng).to(x)).float(), y)


@dataclass(frozen=True)
class Adversarial:
    """Cross-entropy on the images and on their FGSM perturbations, mixed.

    Source: Goodfellow et al. 2015, section 6; no gradient flows through the sign.
    Deviation: images are clipped to [0,1].
    """

    eps: float = param(0.25, help="Size of the perturbation.", **_EPS)
    mix: float = param(0.5, bounds=(0, 1), help="Weight of the clean images; the paper's alpha.")

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """mix times the clean loss plus (1 - mix) times the loss on FGSM's images."""
        z = ascend(error(net, y), x, x, eps=self.eps, alpha=self.eps, steps=1)
        hard = F.cross_entropy(net(z).float(), y)
        if self.mix == 0:
            return hard
        return self.mix * F.cross_entropy(net(x).float(), y) + (1 - self.mix) * hard


@dataclass(frozen=True)
class PGD:
    """Cross-entropy on the images as PGD perturbs them from a random start.

    Source: Madry et al. 2018, equation 2.1.
    Deviation: eps may grow over the first share of the training, which keeps it from being stuck at chance.
    """

    eps: float = param(0.3, help="Size of the perturbation.", **_EPS)
    steps: int = param(7, bounds=(1, 200), help="Steps of the inner attack.")
    alpha: float = param(0.1, help="Size of one step at full eps.", **_EPS)
    ramp: float = param(0.25, bounds=(0, 1), help="Share of the training over which eps grows from 0.")
    mix: float = param(0.0, bounds=(0, 1), help="Weight of the clean images in the loss; 0 in the paper.")

    def at(self, progress: float) -> PGD:
        """eps and alpha as they are at this moment."""
        share = _ramp(progress, self.ramp)
        return replace(self, eps=self.eps * share, alpha=self.alpha * share, ramp=0.0)

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy on PGD's images, mixed with the clean one where asked."""
        z = perturb(net, x, y, rng, eps=self.eps, alpha=self.alpha, steps=self.steps)
        hard = F.cross_entropy(net(z).float(), y)
        if self.mix == 0:
            return hard
        return self.mix * F.cross_entropy(net(x).float(), y) + (1 - self.mix) * hard


@dataclass(frozen=True)
class Fast:
    """One step from a random start, with a watch for catastrophic overfitting.

    Source: Wong et al. 2020, "Fast is better than free": a step of 1.25 eps, and early stopping once the
        accuracy under PGD falls. As in their code, the random start may leave [0,1], and only the image after the step
        is brought back: clipped first, half of the black pixels would start at zero, and the net overfits sooner.
    Deviation: eps may grow over the first share of the training; not at all by default.
    """

    eps: float = param(0.3, help="Size of the perturbation.", **_EPS)
    reach: float = param(1.25, bounds=(0, 4), unit="of eps", help="Size of the single step.")
    ramp: float = param(0.0, bounds=(0, 1), help="Share of the training over which eps grows from 0.")
    collapse: float = param(
        0.5, bounds=(0, 1), unit="of the FGSM accuracy", help="PGD accuracy below this share ends the training."
    )

    def at(self, progress: float) -> Fast:
        """eps as it is at this moment."""
        return replace(self, eps=self.eps * _ramp(progress, self.ramp), ramp=0.0)

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy on the perturbed images."""
        norm, start = NORMS["linf"], noise(x, self.eps, rng).requires_grad_()
        (g,) = torch.autograd.grad(error(net, y)(start), start)
        z = norm.ball(x, self.eps)(start.detach() + self.reach * self.eps * norm.steepest(g))
        return F.cross_entropy(net(z).float(), y)

    def watch(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> str:
        """Names catastrophic overfitting: the net stands FGSM, for which it was trained, and falls to PGD."""
        single = ascend(error(net, y), x, x, eps=self.eps, alpha=self.eps, steps=1)
        many = perturb(net, x, y, rng, eps=self.eps, alpha=self.eps / 4, steps=10)
        with torch.no_grad():
            fgsm, pgd = (float((net(z).argmax(1) == y).float().mean()) for z in (single, many))
        if overfitted(fgsm, pgd, self.collapse):
            return f"catastrophic overfitting: accuracy {fgsm:.1%} under FGSM but {pgd:.1%} under PGD"
        return ""


@dataclass(frozen=True)
class Trades:
    """Cross-entropy on the images, plus beta times how far the answers move within eps.

    Source: Zhang et al. 2019, equation 3 and algorithm 1; the inner ascent starts at x + 0.001 N(0,1).
    Deviation: eps may grow over the first share of the training.
    """

    eps: float = param(0.3, help="Size of the perturbation.", **_EPS)
    steps: int = param(10, bounds=(1, 200), help="Steps of the inner attack.")
    alpha: float = param(0.075, help="Size of one step at full eps.", **_EPS)
    beta: float = param(1.0, bounds=(0, 100), help="Weight of robustness against accuracy.")
    ramp: float = param(0.25, bounds=(0, 1), help="Share of the training over which eps grows from 0.")

    def at(self, progress: float) -> Trades:
        """eps and alpha as they are at this moment."""
        share = _ramp(progress, self.ramp)
        return replace(self, eps=self.eps * share, alpha=self.alpha * share, ramp=0.0)

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy plus beta times the mean divergence of the answers at z from those at x."""
        if self.beta == 0:
            return F.cross_entropy(net(x).float(), y)
        with torch.no_grad():
            fixed = net(x).float().softmax(1)
        start = x + 0.001 * torch.randn(x.shape, generator=rng).to(x)
        drift = lambda z: F.kl_div(net(z).float().log_softmax(1), fixed, reduction="sum")  # noqa: E731
        z = ascend(drift, x, start, eps=self.eps, alpha=self.alpha, steps=self.steps)
        clean, hard = net(x).float(), net(z).float().log_softmax(1)
        moved = F.kl_div(hard, clean.softmax(1), reduction="batchmean")
        return F.cross_entropy(clean, y) + self.beta * moved


@dataclass(frozen=True)
class Free:
    """Descends several times on each batch and uses every backward pass twice: for the weights and the perturbation.

    Source: Shafahi et al. 2019, algorithm 1.
    Deviation: the perturbation starts anew, uniform within eps, on every batch; the paper carries it over.
    """

    eps: float = param(0.3, help="Size of the perturbation.", **_EPS)
    replays: int = param(8, bounds=(1, 50), help="Descents per batch; the paper's m.")

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The first of the losses."""
        return next(self.replay(net, x, y, rng))

    def replay(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Iterator[Tensor]:
        """One loss per descent; the perturbation takes a step of eps along the gradient each left behind."""
        norm = NORMS["linf"]
        project = norm.ball(x, self.eps)
        z = project(noise(x, self.eps, rng))
        for _ in range(self.replays):
            z.requires_grad_()
            yield F.cross_entropy(net(z).float(), y)
            step = torch.zeros_like(z) if z.grad is None else norm.steepest(z.grad)
            z = project(z.detach() + self.eps * step)


@dataclass(frozen=True)
class Distillation:
    """Cross-entropy with a teacher's softened answers, both at a temperature.

    Source: Papernot et al. 2016, "Distillation as a defense"; the trained student is used at temperature 1.

    Attributes:
        teacher: the net that answers, trained at the same temperature; it stays as it is.
        temperature: what the logits are divided by.
    """

    teacher: nn.Module
    temperature: float = param(40.0, bounds=(0.1, 1000), help="What the logits are divided by before the softmax.")

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy of the student's answers with the teacher's; the labels are not used."""
        with torch.no_grad():
            soft = (self.teacher(x).float() / self.temperature).softmax(1)
        return F.cross_entropy(net(x).float() / self.temperature, soft)


@dataclass(frozen=True)
class Tempered:
    """Cross-entropy on logits divided by a temperature: how the teacher of a distillation is trained."""

    temperature: float = param(40.0, bounds=(0.1, 1000), help="What the logits are divided by before the softmax.")

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy at the temperature."""
        return F.cross_entropy(net(x).float() / self.temperature, y)


@dataclass(frozen=True)
class EnsembleAdversarial:
    """Cross-entropy on the images and on FGSM perturbations made on one of several nets, drawn for each batch.

    Source: Tramer et al. 2018, "Ensemble adversarial training"; the net itself is one of those drawn from.

    Attributes:
        static: other trained nets; they stay as they are.
        eps: size of the perturbation.
        mix: weight of the clean images.
    """

    static: Sequence[nn.Module]
    eps: float = param(0.3, help="Size of the perturbation.", **_EPS)
    mix: float = param(0.5, bounds=(0, 1), help="Weight of the clean images in the loss.")

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """mix times the clean loss plus (1 - mix) times the loss on the perturbed images."""
        nets = (net, *self.static)
        source = nets[int(torch.randint(len(nets), (1,), generator=rng))]
        z = ascend(error(source, y), x, x, eps=self.eps, alpha=self.eps, steps=1)
        return self.mix * F.cross_entropy(net(x).float(), y) + (1 - self.mix) * F.cross_entropy(net(z).float(), y)


@dataclass(frozen=True)
class Margin:
    """The margin loss of a capsule network, plus what its decoder fails to draw.

    Source: Sabour et al. 2017, equation 4 and section 4.1.
    Deviation: the reconstruction weighs 0.005 of the summed squared error instead of 0.0005, so that the reconstruction
        is good enough to tell adversarial images by.
    """

    reconstruction: float = param(
        0.005, bounds=(0, 1), help="Weight of the summed squared error between image and reconstruction."
    )

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean over the images of margin loss plus weighted reconstruction error."""
        if not isinstance(net, CapsNet):
            raise ModelError(f"the margin rule trains capsule networks, not {type(net).__name__}")
        seen = net.explore(x)
        present = F.one_hot(y, seen.lengths.shape[1]).to(seen.lengths)
        missing = (0.9 - seen.lengths).clamp(min=0) ** 2
        ghost = (seen.lengths - 0.1).clamp(min=0) ** 2
        loss = (present * missing + 0.5 * (1 - present) * ghost).sum(1).mean()
        if self.reconstruction == 0:
            return loss
        drawn = net.reconstruct(seen.capsules, y).float()
        return loss + self.reconstruction * ((drawn - x) ** 2).sum((1, 2, 3)).mean()
