"""The model as an attack sees it: limited to its access, counted, and checked at its first answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.answers import Answer, Fusing
from lab.gate import Usable, check_logits, telling, warn_of_probabilities
from lab.types import Access, Goal


@dataclass
class Watched(Fusing):
    """A model in the hands of an attack.

    Attributes:
        model: images -> logits.
        access: what the attack may ask of it.
        goal: that of all images, so that a label which does not exist is told before anything is attacked.
        warns: whether to warn of answers that look like probabilities.
        portions: the slices in which the driver itself looks at images.
        cost: how many forward passes of the network a look takes.
        forwards: images that the attack has asked about since it was last counted.
        backwards: images that it has asked the gradient of.
        asks: called before each answer to the attack; what it raises ends the attack.
    """

    model: Usable
    access: Access
    goal: Goal
    warns: bool = False
    portions: Sequence[slice] = (slice(None),)
    cost: int = 1
    forwards: int = 0
    backwards: int = 0
    checked: bool = False
    asks: Callable[[], None] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [N,K], or labels [N] where the attack may see no more."""
        self._asked(x)
        if self.access is Access.GRADIENTS:
            return self._counted(self._look(x))
        with torch.no_grad():
            logits = self._look(x)
        return logits.argmax(1) if self.access is Access.LABELS else logits

    def answer(self, x: Tensor) -> Answer:
        """The whole answer, with what its loss is made of, to an attack that may see gradients."""
        if self.access is not Access.GRADIENTS:
            return Answer(self(x))
        self._asked(x)
        answer = Answer.of(self.model, x) if self.checked else self._first(x, lambda: Answer.of(self.model, x))
        self._counted(answer.members[0] if answer.members else answer.logits)
        return answer

    def look(self, x: Tensor) -> Tensor:
        """The driver's own look: logits [N,K] without a gradient, not one of the attack's queries."""
        with torch.no_grad():
            return torch.cat([self._look(x[part]) for part in self.portions])

    def count(self) -> tuple[int, int]:
        """The forwards and backwards since the last time, in images."""
        spent = self.cost * self.forwards, self.cost * self.backwards
        self.forwards = self.backwards = 0
        return spent

    def _asked(self, x: Tensor) -> None:
        if self.asks is not None:
            self.asks()
        self.forwards += len(x)

    def _look(self, x: Tensor) -> Tensor:
        return self.model(x) if self.checked else self._first(x, lambda: Answer(self.model(x))).logits

    def _first(self, x: Tensor, ask: Callable[[], Answer]) -> Answer:
        """The first answer, checked."""
        with telling(x):
            answer = ask()
        check_logits(answer.logits, len(x), self.goal)
        if self.warns:
            warn_of_probabilities(answer.logits)
        self.checked = True
        return answer

    def _counted(self, logits: Tensor) -> Tensor:
        """The logits, which count the gradients that are asked of them."""
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def _count_backward(self, g: Tensor) -> None:
        self.backwards += len(g)
