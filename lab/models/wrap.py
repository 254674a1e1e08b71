"""Anyone's network as a model: what its pixels span, how they are normalised, and where its logits are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from lab import devices
from lab.answers import Answer, logits_in
from lab.gate import Around
from lab.types import Model, ModelError, ParamError

Output = str | int | Callable[[object], Tensor]
"""Where the logits are in what a network answers: a key or the name of an attribute, a place, or a function."""


class Wrapped(Around):
    """A network in a form that the lab can ask: images [N,C,H,W] in [0,1] -> logits [N,K].

    Attributes:
        model: the network.
        classes: names of its classes; "0", "1", ... where only their number was told; none where nothing was.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, model: Model, classes: tuple[str, ...], shift: Tensor, scale: Tensor, flips: bool, output: Output | None
    ) -> None:
        super().__init__(model)
        self.classes, self.flips, self.output = classes, flips, output
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def answer(self, x: Tensor) -> Answer:
        """Its logits.

        Raises:
            ModelError: where there are none, or not as many as there are classes.
        """
        x = x.flip(1) if self.flips else x
        pixels = x * self.scale.to(x) + self.shift.to(x)
        logits = self._found(self.model(pixels.to(devices.of(self.model, x)))).to(x.device)
        if logits.dim() == 1 and len(logits) == len(x):
            logits = logits.unsqueeze(1)
        if logits.dim() == 2 and logits.shape[1] == 1:  # one logit tells one class from the other
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        if self.classes and logits.dim() == 2 and logits.shape[1] != len(self.classes):
            raise ModelError(
                f"the network answers {logits.shape[1]} classes, and {len(self.classes)} were named: "
                "check classes= and output= of lab.wrap"
            )
        return Answer(logits)

    def _found(self, answer: object) -> Tensor:
        """The logits in what the network answers."""
        if self.output is None:
            if isinstance(answer, tuple | list) and answer and isinstance(answer[0], Tensor):
                return answer[0]
            return logits_in(answer)
        found: object = None
        try:
            if callable(self.output):
                found = self.output(answer)
            elif isinstance(self.output, int):
                found = answer[self.output]  # type: ignore[index]
            else:
                found = answer[self.output] if isinstance(answer, Mapping) else getattr(answer, self.output, None)
        except (KeyError, IndexError, TypeError):
            pass
        if isinstance(found, Tensor):
            return found
        raise ModelError(f"the network's answer, a {type(answer).__name__}, has no tensor at output={self.output!r}")


def wrap(
    model: Model,
    *,
    classes: int | Sequence[str] | None = None,
    input_range: tuple[float, float] = (0, 1),
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: Literal["RGB", "BGR"] = "RGB",
    output: Output | None = None,
) -> Model:
    """A model of anyone's network: images [N,C,H,W] in [0,1] -> logits [N,K], with gradients all the way.

    The network itself is not changed; one in training mode is asked as a copy in eval mode.

    Args:
        model: the network, an `nn.Module` or any function; it is given (low + (high - low) x - mean) / std.
        classes: the names of its classes or how many there are, to be checked at every answer.
        input_range: what black and white are to it: (0, 255) for bytes, (-1, 1) for centred pixels.
        mean: subtracted from what lies in `input_range`, one number or one a channel, in the network's own order.
        std: by which the difference is divided, likewise.
        channels: the order of colours that it expects.
        output: where the logits are in what it answers: a key or the name of an attribute, a place, or a function of
            the answer. None finds a tensor, `.logits`, `["logits"]`, or the first of a tuple. One logit an image, [N]
            or [N,1], becomes two classes, 0 and the logit.

    Raises:
        ModelError: where the model cannot be called; later, where its answer has no logits.
        ParamError: for an argument that makes no sense.

    Example:
        >>> import lab, torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 1))  # bytes in, one logit out
        >>> model = lab.wrap(network, input_range=(0, 255), classes=["cat", "dog"])
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 2])
    """
    if not callable(model):
        raise ModelError(f"lab.wrap takes a network, an nn.Module or a function, not {type(model).__name__}")
    low, high = _numbers(input_range, "input_range")[:2] if _is_pair(input_range) else (0.0, 0.0)
    if not low < high:
        raise ParamError(
            f"input_range must be two numbers, the smaller first, for example (0, 255), not {input_range!r}"
        )
    if channels not in ("RGB", "BGR"):
        raise ParamError(f"channels must be 'RGB' or 'BGR', not {channels!r}")
    if output is not None and (isinstance(output, bool) or not (isinstance(output, str | int) or callable(output))):
        raise ParamError(f"output must be a key, a place, the name of an attribute or a function, not {output!r}")
    means, stds = _numbers(0.0 if mean is None else mean, "mean"), _numbers(1.0 if std is None else std, "std")
    if len(means) != len(stds) and 1 not in (len(means), len(stds)):
        raise ParamError(f"mean and std must be as many, one or one a channel, not {len(means)} and {len(stds)}")
    if any(s <= 0 for s in stds):
        raise ParamError(f"std must be above 0, not {std!r}")
    m, s = (torch.tensor(values).view(1, -1, 1, 1) for values in (means, stds))
    return Wrapped(model, _named(classes), (low - m) / s, (high - low) / s, channels == "BGR", output)


def _is_pair(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2


def _numbers(value: object, what: str) -> tuple[float, ...]:
    """One finite number or several.

    Raises:
        ParamError: for anything else.
    """
    each = tuple(value) if isinstance(value, Sequence | Tensor) and not isinstance(value, str) else (value,)
    try:
        numbers = tuple(float(v) for v in each)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)) or any(isinstance(v, bool | str) for v in each):
        raise ParamError(f"{what} must be a finite number or several, not {value!r}")
    return numbers


def _named(classes: object) -> tuple[str, ...]:
    """The names of the classes, where they or their number are given.

    Raises:
        ParamError: for anything else.
    """
    if classes is None:
        return ()
    if isinstance(classes, int) and not isinstance(classes, bool) and classes >= 2:
        return tuple(map(str, range(classes)))
    if isinstance(classes, Sequence) and not isinstance(classes, str) and len(classes) >= 2:
        return tuple(map(str, classes))
    raise ParamError(f"classes must be two names or more, or their number, not {classes!r}")
