"""What a model says of images: its logits, and what its loss is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lab import devices
from lab.types import Goal, Model, ModelError


def logits_in(answer: object) -> Tensor:
    """The logits in what a network answers: a tensor, or its `logits`.

    Raises:
        ModelError: where there are none to be found.
    """
    if isinstance(answer, Tensor):
        return answer
    logits = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    parts = f" of {len(answer)}" if isinstance(answer, tuple | list) else ""
    raise ModelError(
        f"the model must answer one row of logits per image, [images, classes], but answered {type(answer).__name__}"
        f"{parts}: lab.wrap(model, output=...) makes such a model of it"
    )


@dataclass(frozen=True)
class Answer:
    """What a model says of images, with what its loss is made of where it fuses the losses of several members.

    Attributes:
        logits: [N,K]; they decide on the classes.
        members: the logits of each member; none for a model with a loss of its own.
    """

    logits: Tensor
    members: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, model: Model, x: Tensor) -> Answer:
        """A model's whole answer for images [N,C,H,W] on any device, on theirs."""
        if isinstance(model, Fusing):
            return model.answer(x)
        return cls(logits_in(model(x.to(devices.of(model, x)))).to(x.device))

    def loss(self, goal: Goal) -> Tensor:
        """What an attack ascends [N]: the loss of the goal, or the mean of its losses over the members."""
        if not self.members:
            return goal.loss(self.logits)
        return torch.stack([goal.loss(each) for each in self.members]).mean(0)

    def map(self, change: Callable[[Tensor], Tensor]) -> Answer:
        """The answer of a model that does the same to all logits."""
        return Answer(change(self.logits), tuple(map(change, self.members)))

    @staticmethod
    def mean(answers: Sequence[Answer]) -> Answer:
        """The mean of several answers, for each member by itself."""
        members = zip(*(a.members for a in answers), strict=True)
        return Answer(
            torch.stack([a.logits for a in answers]).mean(0), tuple(torch.stack(each).mean(0) for each in members)
        )


class Fusing(ABC):
    """A model that may fuse the losses of several members, and says so by `answer`; so does one that is put around it.

    A function around such a model that hands on its logits only is a model of its own: its loss is that of its logits.
    """

    @abstractmethod
    def answer(self, x: Tensor) -> Answer:
        """The whole answer for images [N,C,H,W]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N,K], which is what an `nn.Module` answers."""
        return self.answer(x).logits
