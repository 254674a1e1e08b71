"""An attack by its key: the one call that pages, commands and programs make."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lab.attacks.catalog import find_attack
from lab.attacks.driver import run
from lab.gate import check_images, make_goal
from lab.progress import SILENT, Progress
from lab.types import Model, Result


def attack(
    key: str,
    model: Model,
    x: Tensor,
    y: Tensor | int,
    *,
    target: Tensor | int | None = None,
    seed: int = 0,
    trace: bool | int = False,
    drop_solved: bool = False,
    progress: Progress = SILENT,
    **params: Any,
) -> Result:
    """Attacks images with a method of the catalogue.

    Args:
        key: the attack, e.g. "fgsm", "bim", "pgd", "mi_fgsm".
        model: images [N,C,H,W] in [0,1] -> logits [N,K]; any callable, a model of the lab or your own `nn.Module`. It
            is never changed; one in training mode is attacked as a copy in eval mode.
        x: clean images [N,C,H,W], floating point in [0,1].
        y: their classes, int64 [N], or one number for all.
        target: the classes to reach, [N] or one number; None to leave `y` for any other class.
        seed: the same seed gives the same result, for each image whatever the batch around it.
        trace: keep every iterate as a `Frame` in the result; a number keeps the pictures of at most that many of them,
            evenly spread, first and last among them.
        drop_solved: stop working on an image as soon as it is fooled, as some attacks always do: all that is needed to
            measure accuracy under attack, in a fraction of the time.
        progress: hears of every iterate; where the work is to stop, the attack ends with what it has.
        **params: the attack's parameters; numbers may be text such as "8/255".

    Returns:
        The adversarial images and what was measured of them, on the device of `x`.

    Raises:
        ParamError: for an unknown attack or parameter, or a value out of range.
        ImageError, GoalError, ModelError: for images, labels or a model that cannot be used.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 4))
        >>> result = lab.attack("pgd", lab.load_model("mnist/softmax"), digits.x, digits.y, eps="16/255", steps=10)
        >>> result.success.tolist(), f"{255 * result.distance['linf'].max():.0f}/255"
        ([False, True, False, False], '16/255')
    """
    spec = find_attack(key)
    method = spec.build(**params)
    x = check_images(x)
    goal = make_goal(x, y, target)
    return run(spec, method, model, x, goal, seed=seed, trace=trace, drop_solved=drop_solved, progress=progress)
