"""The words the lab speaks: goals, iterates, frames, results, papers and the error classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

FLAT = -60.0
"""The logits by which a class leads from which on the loss is a straight line: its slope must not vanish in 32 bits."""
Model = Callable[[Tensor], Tensor]
"""Images [N,C,H,W] in [0,1] -> logits [N,K]."""


TINY = 1e-12
"""What keeps a division or a logarithm from 0."""
REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, AssertionError)
"""What a model of anyone's may raise when it is asked for an image that it cannot take."""


class LabError(ValueError):
    """Anything the lab refuses; its text is one sentence that says what was expected, what came, and what to do.

    Example:
        >>> import lab
        >>> try:
        ...     lab.load_data("photos")
        ... except lab.LabError as error:
        ...     str(error)
        "there is no data set 'photos': the lab has photographs, mnist, fashion_mnist"
    """


class ImageError(LabError):
    """An image or a batch of images that cannot be used.

    Example:
        >>> import lab, torch
        >>> lab.attack("fgsm", lab.load_model("mnist/softmax"), torch.full((1, 1, 28, 28), 255.0), 0)
        Traceback (most recent call last):
        lab.types.ImageError: pixels must lie in [0,1], but these span [255, 255]
    """


class GoalError(LabError):
    """A label or target that does not exist or makes no sense.

    Example:
        >>> import lab, torch
        >>> lab.attack("fgsm", lab.load_model("mnist/softmax"), torch.zeros(1, 1, 28, 28), 10)
        Traceback (most recent call last):
        lab.types.GoalError: label 10 does not exist: the model has 10 classes, 0 to 9
    """


class ParamError(LabError):
    """A parameter that is unknown or out of range, or an unknown method.

    Example:
        >>> import lab, torch
        >>> lab.attack("bim", lab.load_model("mnist/softmax"), torch.zeros(1, 1, 28, 28), 0, steps=0)
        Traceback (most recent call last):
        lab.types.ParamError: steps must lie between 1 and 1000, not 0
    """


class ModelError(LabError):
    """A model that is unknown, cannot be loaded, or does not behave as a classifier.

    Example:
        >>> import lab
        >>> lab.load_model("mnist/none")
        Traceback (most recent call last):
        lab.types.ModelError: there is no model 'mnist/none': the lab has ...
    """


class DataError(LabError):
    """A data set that is unknown or cannot be read.

    Example:
        >>> import lab
        >>> lab.load_data("mnist", "train")
        Traceback (most recent call last):
        lab.types.DataError: mnist has no split 'train': it has test, official_train, official_test
    """


class LabWarning(UserWarning):
    """Something that works but probably not as meant.

    Example:
        >>> import lab, torch, warnings
        >>> probabilities = torch.nn.Sequential(lab.load_model("mnist/softmax"), torch.nn.Softmax(1))
        >>> with warnings.catch_warnings(record=True) as heard:
        ...     warnings.simplefilter("always")
        ...     result = lab.attack("fgsm", probabilities, torch.zeros(1, 1, 28, 28), 0)
        >>> issubclass(heard[0].category, lab.LabWarning)
        True
    """


@dataclass(frozen=True)
class Paper:
    """A published source."""

    title: str
    authors: str
    year: int
    arxiv: str

    @property
    def url(self) -> str:
        """Where the paper can be read."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    @property
    def citation(self) -> str:
        """Authors, title and year on one line."""
        return f"{self.authors}: {self.title} ({self.year})"


class Access(Enum):
    """What an attack may ask of the model; the driver enforces it."""

    GRADIENTS = "white box: logits and gradients"
    SCORES = "black box: logits only"
    LABELS = "black box: the predicted label only"


@dataclass(frozen=True)
class Goal:
    """What an attack wants, per image: leave the true class, or reach a target class.

    The only place that knows what "targeted" means.

    Attributes:
        labels: int64 [N]; the true classes, or the target classes when `targeted`.
        targeted: whether `labels` are to be reached instead of left.
    """

    labels: Tensor
    targeted: bool = False

    def loss(self, logits: Tensor) -> Tensor:
        """Cross-entropy per image [N], signed so that an attack always ascends it.

        Written as softplus(logsumexp of the other logits - own logit), the same function. In 32 bits the usual form
        loses the gradient of the own logit once the margin exceeds about 17 (softmax rounds to 1), and with it the
        direction of the attack on images of which the model is certain. Beyond a lead of 60 logits (`FLAT`), where the
        loss is below 1e-26, it goes on as a straight line, a little below 0, so that order and direction remain.
        """
        own = self.labels.unsqueeze(1)
        lag = logits.scatter(1, own, float("-inf")).logsumexp(1) - logits.gather(1, own).squeeze(1)
        loss = torch.where(lag < FLAT, math.exp(FLAT) * (1 + lag - FLAT), F.softplus(lag))
        return -loss if self.targeted else loss

    def margin(self, logits: Tensor) -> Tensor:
        """What still separates each image from the goal [N], in logits; negative once the goal is reached.

        Untargeted: logit of the true class minus the largest other. Targeted: largest other minus the target's.
        """
        own = self.labels.unsqueeze(1)
        others = logits.scatter(1, own, float("-inf")).amax(1)
        gap = logits.gather(1, own).squeeze(1) - others
        return -gap if self.targeted else gap

    def reached(self, predictions: Tensor) -> Tensor:
        """Whether each prediction [N] satisfies the goal, bool [N]."""
        hit = predictions == self.labels
        return hit if self.targeted else ~hit

    def rows(self, index: Tensor | slice) -> Goal:
        """The goal of some of the images."""
        return Goal(self.labels[index], self.targeted)


@dataclass(frozen=True)
class Iterate:
    """One state of an attack.

    Attributes:
        x: the images.
        logits: the logits at these images, where the attack has them anyway.
        stage: the name of the attack at work, where several follow one another.
        settled: which images [N] the attack expects to improve no more; where the closest counts, they are dropped.
        hit: which images [N] do what the attack asks for beyond the goal; None where it asks for no more.
    """

    x: Tensor
    logits: Tensor | None = None
    stage: str = ""
    settled: Tensor | None = None
    hit: Tensor | None = None


Steps = Generator[Iterate, Tensor | None, None]
"""What an attack returns. The driver may send the rows (int64 indices into the last iterate) to go on with; an attack
that cannot drop rows ignores what is sent."""

Attack = Callable[[Model, Tensor, Goal, torch.Generator], Steps]
"""(model, clean images, goal, random numbers) -> iterates, the first before any update and the last after the last."""


@dataclass(frozen=True)
class Frame:
    """What the driver makes of one iterate; every tensor has one row per image, on the CPU.

    Attributes:
        step: how many updates lie behind this iterate.
        x: images [N,C,H,W]; [0,C,H,W] where pictures are limited and this one was not kept.
        loss: the goal's loss, which the attack ascends; of a model that fuses losses, that of the logits it answers.
        margin: what separates the image from the goal, in logits; negative once reached.
        predictions: class per image.
        confidence: softmax probability of that class.
        distance: "linf", "l2", "l1" and "l0" from the clean image.
        success: whether the goal is reached.
        queries: forward passes per image so far.
    """

    step: int
    x: Tensor
    loss: Tensor
    margin: Tensor
    predictions: Tensor
    confidence: Tensor
    distance: Mapping[str, Tensor]
    success: Tensor
    queries: Tensor

    def rows(self, index: Tensor) -> Frame:
        """The frame of some of the images, int64 [M], in that order."""
        names = ["loss", "margin", "predictions", "confidence", "success", "queries", *(["x"] if len(self.x) else [])]
        tensors: dict[str, Any] = {name: getattr(self, name)[index] for name in names}
        return replace(self, **tensors, distance={name: values[index] for name, values in self.distance.items()})


@dataclass(frozen=True)
class Result:
    """What is left of an attack when it ends; every tensor has one row per image.

    Attributes:
        x: adversarial images [N,C,H,W] in [0,1].
        success: whether the goal is reached at `x`, bool [N].
        distance: from the clean images: "linf" (largest change), "l2" (Euclidean), "l1" (sum of changes) and
            "l0" (values changed), each [N].
        queries: forward passes per image, int64 [N].
        backwards: backward passes per image, int64 [N].
        predictions: the model's classes at `x`, int64 [N].
        confidence: softmax probability of the predicted classes [N].
        frames: the iterates with their measures; empty unless traced.
        complete: False where the attack was cancelled before its last step.
        stage: for an attack of several stages, the one that reached each image's goal; "" where none did. [N]
        chance: of a random model, in which share of fresh looks at `x` the goal is reached [N]; `success` is more than
            one half. None for a model that answers the same at every look.
        interval: the 95% interval of that share [N,2].

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 3))
        >>> result = lab.attack("bim", lab.load_model("mnist/softmax"), digits.x, digits.y, eps=0.1, steps=10)
        >>> result.success.tolist(), result.predictions.tolist(), result.queries.tolist()
        ([False, True, True], [0, 2, 6], [10, 10, 10])
    """

    x: Tensor
    success: Tensor
    distance: Mapping[str, Tensor]
    queries: Tensor
    backwards: Tensor
    predictions: Tensor
    confidence: Tensor
    frames: tuple[Frame, ...] = field(default=(), repr=False)
    complete: bool = True
    stage: tuple[str, ...] = ()
    chance: Tensor | None = None
    interval: Tensor | None = None

    def rows(self, index: Tensor) -> Result:
        """The results of some of the images, int64 [M], in that order."""
        tensors: dict[str, Any] = {
            each.name: getattr(self, each.name)[index.to(getattr(self, each.name).device)]
            for each in fields(self)
            if isinstance(getattr(self, each.name), Tensor)
        }
        return replace(
            self,
            **tensors,
            distance={name: values[index.to(values.device)] for name, values in self.distance.items()},
            frames=tuple(frame.rows(index.cpu()) for frame in self.frames),
            stage=tuple(self.stage[k] for k in index.tolist()) if self.stage else (),
        )
