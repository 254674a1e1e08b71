"""All that one attack depends on: model and picture, the attack and its parameters, the goal and the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor

from lab import attacks
from lab.attacks.spec import Spec
from lab.data.windows import MIDDLE
from lab.experiments.attack.request import Request
from lab.models.cards import Card
from lab.params import Value

ANY_CLASS = "any other class"


@dataclass(frozen=True)
class Subject:
    """What is attacked: a model, and a picture [1,C,H,W] as the model sees it, with its class where known.

    Two subjects are equal where model, data set, image and window are; card and pixels follow from these. `fit` makes
    of the picture what another model of the task sees; None where all see the same.
    """

    model: str
    dataset: str
    image: str
    label: int | None
    card: Card = field(compare=False)
    x: Tensor = field(compare=False)
    window: float = MIDDLE
    fit: Callable[[Card], Tensor] | None = field(default=None, compare=False)

    def on(self, card: Card) -> Subject:
        """The same picture as another model of its task sees it."""
        x = self.x if self.fit is None else self.fit(card)
        return replace(self, model=card.key, card=card, x=x)

    @property
    def is_own(self) -> bool:
        """Whether the picture is a person's own."""
        return self.dataset == "file"


@dataclass(frozen=True)
class Aim:
    """What is to be reached: a class, None for any other; and the seed of the random numbers."""

    target: int | None
    seed: int


@dataclass(frozen=True)
class Method:
    """An attack by its key, with the values of its parameters."""

    attack: str
    values: tuple[tuple[str, Value], ...]

    @property
    def spec(self) -> Spec:
        """The attack's entry in the catalogue."""
        return attacks.CATALOG[self.attack]

    @property
    def params(self) -> dict[str, Value]:
        """The parameters by name."""
        return dict(self.values)


@dataclass(frozen=True)
class Scenario:
    """All that one attack depends on."""

    subject: Subject
    method: Method
    aim: Aim

    @property
    def card(self) -> Card:
        """The card of the model that is attacked."""
        return self.subject.card

    @property
    def x(self) -> Tensor:
        """The picture [1,C,H,W]."""
        return self.subject.x

    @property
    def spec(self) -> Spec:
        """The attack's entry in the catalogue."""
        return self.method.spec

    @property
    def request(self) -> Request:
        """What is asked of the lab."""
        subject, method, aim = self.subject, self.method, self.aim
        return Request(
            model=subject.model,
            dataset=subject.dataset,
            image=subject.image,
            attack=method.attack,
            params=method.params,
            target=aim.target,
            seed=aim.seed,
            window=subject.window,
        )
