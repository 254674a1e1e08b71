"""The one gate: images, labels, numbers and anyone's network are checked here before anything is done with them.

Every public function lets what it is given through here, so that each is as careful as any other. Every error says what
was expected, what came, and what to do.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from lab import devices
from lab.answers import Answer, Fusing
from lab.types import REFUSALS, Goal, GoalError, ImageError, LabWarning, Model, ModelError, ParamError

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""The dtypes that labels may have."""
HALF = (torch.float16, torch.bfloat16)
"""Precisions in which the lab shows images to a network, but does not compute."""
SAMPLE = 2
"""How many images of a batch are looked at before anything is done with it."""
STEADY = 1e-3
"""How far two looks at the same image may be apart, as a share of the largest logit, in a network without chance."""


class Around(Fusing, nn.Module):
    """A model that stands around another, which is asked in eval mode and not changed."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = devices.in_eval_mode(model)
        self.training = False


class Averaged(Around):
    """The mean of a random model's logits over several draws: what an attacker looks at who expects the randomness.

    Source: expectation over transformation: Athalye et al. 2018, "Synthesizing robust adversarial examples".
    """

    def __init__(self, model: Model, draws: int) -> None:
        super().__init__(model)
        self.draws = draws

    def answer(self, x: Tensor) -> Answer:
        """The mean of the model's answers, for each member by itself where it fuses losses."""
        return Answer.mean([Answer.of(self.model, x) for _ in range(self.draws)])


class Usable(Around):
    """Anyone's network as the lab asks it: images [N,C,H,W] in [0,1] -> logits [N,K].

    It is given copies, in the precision of the images that it is meant for, so that whatever it does to them is done to
    nobody's; its logits are found in what it answers, and come in the precision that the lab computes in.

    Attributes:
        model: the network, in eval mode.
        given: the dtype in which it gets images.
        computed: the dtype in which the lab computes: float32 for images in half precision, else theirs.
    """

    def __init__(self, model: Model, given: torch.dtype) -> None:
        super().__init__(model)
        self.given = given
        self.computed = torch.float32 if given in HALF else given

    def answer(self, x: Tensor) -> Answer:
        """The network's whole answer, with what its loss is made of.

        Raises:
            ModelError: where no logits can be found in it.
        """
        x = x.to(self.given, copy=True)
        answer = Answer.of(self.model, x)
        same = answer.logits.dtype == self.computed and answer.logits.device == x.device
        return answer if same else answer.map(lambda logits: logits.to(x.device, self.computed))

    def like(self, model: Model) -> Usable:
        """Another network, asked in the same way."""
        return Usable(model, self.given)


def usable(model: Model, x: Tensor) -> Usable:
    """A network as the lab asks it, for images such as x [N,C,H,W]; the network itself is never changed.

    One in training mode, or with weights made in inference mode, is asked as a copy.

    Raises:
        ModelError: where it cannot be called, or would have to be copied and cannot be.
    """
    if isinstance(model, Usable):
        return model if model.given == x.dtype else model.like(model.model)
    if not callable(model):
        raise ModelError(f"a model must be callable, images to logits, not {type(model).__name__}: use lab.load_model")
    return Usable(model, x.dtype)


@dataclass(frozen=True)
class Look:
    """What a network says of some images before anything is done with them.

    Attributes:
        x: the images [n,C,H,W].
        logits: of these [n,K].
        gradient: of a weighted sum of the logits at the last of them [1,C,H,W]; None where it was not asked.
        leads: whether any gradient leads from the logits to the images, be it zero; so where it was not asked.
        random: whether the network says something else of the same image at a second look.
    """

    x: Tensor
    logits: Tensor
    gradient: Tensor | None
    leads: bool
    random: bool


@devices.full_precision()
def look(model: Usable, x: Tensor, gradients: bool) -> Look:
    """Looks at images that are spread over a batch x [N,C,H,W] (N > 0), on the network's device, at one of them twice.

    Args:
        model: the network.
        x: the batch.
        gradients: whether the second look takes the gradient, too.

    Raises:
        ModelError: where the network cannot take such images, or what it answers are no logits.
    """
    rows = torch.linspace(0, len(x) - 1, min(SAMPLE, len(x))).round().long()
    some = x[rows.to(x.device)].to(devices.of(model, x), model.computed)
    one, leads, gradient = some[-1:], True, None
    with torch.no_grad():
        logits = torch.cat(list(devices.in_parts(some, SAMPLE, lambda part: asked(model, part))))
    check_logits(logits, len(some))
    try:
        with telling(one), torch.set_grad_enabled(gradients):
            again, found = with_gradient(model, one) if gradients else (model(one), None)
    except torch.OutOfMemoryError as e:
        raise devices.too_small() from e
    if gradients:
        leads, gradient = found is not None, torch.zeros_like(one) if found is None else found
    least = max(STEADY, 8 * torch.finfo(model.given).eps) * max(1.0, float(logits.detach().abs().max()))
    return Look(some, logits, gradient, leads, bool((again - logits[-1:]).abs().max() > least))


def asked(model: Model, x: Tensor) -> Tensor:
    """What a model answers for images, its refusal told in a sentence.

    Raises:
        ModelError: where it cannot take them.
    """
    with telling(x):
        return model(x)


@contextmanager
def telling(x: Tensor) -> Iterator[None]:
    """Tells a model's refusal to take images x [N,C,H,W] as a ModelError."""
    try:
        yield
    except (ModelError, torch.OutOfMemoryError):
        raise
    except (*REFUSALS, AttributeError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        if reason.startswith("Guard failed"):
            reason += "; it was exported for some sizes only, so export it again with dynamic ones"
        raise ModelError(f"the model cannot take images of shape {list(x.shape[1:])}: {reason}") from e


def with_gradient(model: Model, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits [N,K] at images, and the gradient of a weighted sum of them; None where none leads to the images."""
    x = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        if not logits.requires_grad:
            return logits, None
        weights = torch.linspace(-1, 1, logits.shape[1]).to(logits)
        (g,) = torch.autograd.grad((logits * weights).sum(), x, allow_unused=True)
    return logits.detach(), g


def check_whole(value: object, what: str, low: int = 1) -> int:
    """A whole number, at least `low`.

    Raises:
        ParamError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < low:
        raise ParamError(f"{what} must be a whole number, at least {low}, not {value!r}")
    return int(value)


def check_number(value: object, what: str, low: float = 0.0, high: float = math.inf) -> float:
    """A finite number between two others, these excluded.

    Raises:
        ParamError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low < float(value) < high:
        upper = "" if math.isinf(high) else f" and below {high:g}"
        raise ParamError(f"{what} must be a finite number above {low:g}{upper}, not {value!r}")
    return float(value)


def check_seed(seed: object) -> int:
    """The seed, if it is one.

    Raises:
        ParamError: unless it is a whole number from 0 to 2^64-1.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**64:
        raise ParamError(f"seed must be a whole number between 0 and 2^64-1, not {seed!r}")
    return int(seed)


def check_logits(logits: object, rows: int, goal: Goal | None = None) -> None:
    """Raises ModelError or GoalError unless these are logits [rows,K] that the goal can be asked of."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != rows:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"the model must answer one row of logits per image, [{rows}, classes], but answered {got}: "
            "lab.wrap(model, output=...) makes such a model of it"
        )
    classes = logits.shape[1]
    if classes < 2:
        raise ModelError(
            "the model has one class only, so there is nothing to confuse it with: use one with two or more, or "
            "lab.wrap(model), which makes two classes of one logit"
        )
    if not logits.isfinite().all():
        raise ModelError("the model answers NaN or infinity for these images: check its weights and its input range")
    if goal is None or not len(goal.labels):
        return
    highest = int(goal.labels.max())
    if highest >= classes:
        what = "target" if goal.targeted else "label"
        raise GoalError(f"{what} {highest} does not exist: the model has {classes} classes, 0 to {classes - 1}")


def warn_of_probabilities(logits: Tensor) -> None:
    """Warns where a model's answers [N,K] look like probabilities."""
    with torch.no_grad():
        if (logits >= 0).all() and (logits.sum(1) - 1).abs().max() < 1e-4:
            message = "the model seems to answer probabilities; attacks expect logits, so leave out the softmax"
            warnings.warn(message, LabWarning, stacklevel=2)


def check_batch(x: object, y: object) -> tuple[Tensor, Tensor]:
    """Images [N,C,H,W] and their classes int64 [N], at least one.

    Raises:
        ImageError, GoalError: for what is none.
    """
    images = check_images(x)
    if not len(images):
        raise ImageError("at least one image is needed, but there are none")
    return images, check_labels(y, images, "label")


def check_images(x: object) -> Tensor:
    """The images, detached and no inference tensor, if they are a batch that can be attacked.

    Raises:
        ImageError: unless x is a floating-point tensor [N,C,H,W], finite and within [0,1].
    """
    if not isinstance(x, Tensor):
        raise ImageError(f"images must be a tensor [N,C,H,W], not {type(x).__name__}")
    if x.dim() != 4:
        raise ImageError(f"images must have the shape [N,C,H,W], not {list(x.shape)}")
    if not x.is_floating_point():
        raise ImageError(f"images must be floating point in [0,1], not {x.dtype}: divide bytes by 255")
    if x.numel() == 0 and len(x):
        raise ImageError(f"images of shape {list(x.shape[1:])} have no pixels")
    if x.numel():
        if not x.isfinite().all():
            raise ImageError("images contain NaN or infinity")
        low, high = x.min().item(), x.max().item()
        if low < 0 or high > 1:
            raise ImageError(f"pixels must lie in [0,1], but these span [{low:g}, {high:g}]")
    return _ordinary(x)


def check_labels(labels: object, x: Tensor, what: str) -> Tensor:
    """The labels as int64 [N] on x's device; one number stands for all images.

    Raises:
        GoalError: unless there is one whole, non-negative number per image.
    """
    try:
        if isinstance(labels, Integral) and not isinstance(labels, bool):
            labels = torch.full((len(x),), int(labels))
        if isinstance(labels, Sequence) and not isinstance(labels, str):
            labels = torch.as_tensor(labels) if len(labels) else torch.zeros(0, dtype=torch.int64)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        raise GoalError(f"{what}s must be whole numbers, one per image, not {type(labels).__name__}") from None
    if not isinstance(labels, Tensor) or labels.dtype not in WHOLE:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise GoalError(f"{what}s must be whole numbers, one per image, not {got}")
    if labels.shape != (len(x),):
        raise GoalError(f"{what}s must have the shape [{len(x)}], one per image, not {list(labels.shape)}")
    if len(labels) and int(labels.min()) < 0:
        raise GoalError(f"{what} {int(labels.min())} does not exist: classes are numbered from 0")
    return _ordinary(labels).to(device=x.device, dtype=torch.int64)


def _ordinary(t: Tensor) -> Tensor:
    """The tensor, detached; a copy where it was made in inference mode, for that one can take part in no gradient."""
    with torch.inference_mode(False):
        return t.detach().clone() if t.is_inference() else t.detach()


def make_goal(x: Tensor, y: object, target: object = None) -> Goal:
    """The goal for images x [N,C,H,W]: to leave the classes y, or to reach the target classes.

    Raises:
        GoalError: for labels that do not fit, or a target that is the label already.
    """
    labels = check_labels(y, x, "label")
    if target is None:
        return Goal(labels)
    targets = check_labels(target, x, "target")
    same = (targets == labels).nonzero().flatten().tolist()
    if same:
        raise GoalError(f"the target of image {same[0]} is its own class {int(labels[same[0]])}: choose another class")
    return Goal(targets, targeted=True)
