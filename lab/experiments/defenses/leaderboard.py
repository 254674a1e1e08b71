"""How one model stands under attackers of rising strength, on the same images and epsilon as every other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from lab.attacks import attack as run_attack
from lab.models.cards import resized
from lab.predict import classes_of
from lab.progress import Progress
from lab.types import Model

STEPS = 40
"""Of PGD."""
COLUMNS = ("clean", "fgsm", "pgd", "transfer", "autoattack")
"""What may be measured, in the order of strength."""


def transferred(source: Model, x: Tensor, y: Tensor, eps: float, seed: int = 0) -> Tensor:
    """Images [N,C,H,W] that MI-FGSM makes on another model, for everyone to be shown.

    Args:
        source: the other model.
        x: clean images [N,C,H,W].
        y: their classes [N].
        eps: size of the perturbation (L-infinity).
        seed: of the attack.
    """
    return run_attack("mi_fgsm", source, resized(x, source), y, eps=eps, seed=seed).x


def accuracies(
    model: Model,
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    made: Tensor | None = None,
    autoattack: bool = False,
    seed: int = 0,
    cancel: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Accuracies of a model by column; an image that is wrong when clean counts as wrong under every attack.

    Args:
        model: images -> logits.
        x: clean images [N,C,H,W].
        y: their classes [N].
        eps: size of the perturbation (L-infinity).
        made: images made on another model, from `transferred`; None to leave that column out.
        autoattack: whether to run AutoAttack, which is slow on a model that holds.
        seed: of the attacks.
        cancel: asked inside the attacks; what was not finished is left out.
    """
    x = resized(x, model)
    right = classes_of(model, x) == y.cpu()
    found = {"clean": float(right.double().mean())}
    rows = right.nonzero().flatten().to(x.device)
    plan: dict[str, Mapping[str, Any]] = {"fgsm": {}, "pgd": {"steps": STEPS, "alpha": 2.5 * eps / STEPS}}
    if autoattack:
        plan["autoattack"] = {}
    for key, params in plan.items():
        if cancel():
            return found
        if not len(rows) or eps == 0:
            found[key] = found["clean"]
            continue
        result = run_attack(
            key, model, x[rows], y[rows], eps=eps, seed=seed, drop_solved=True, progress=Progress(stop=cancel), **params
        )
        if not result.complete:
            return found
        found[key] = float((~result.success).sum()) / len(x)
    if made is not None:
        seen = classes_of(model, resized(made, model))
        found["transfer"] = float((right & (seen == y.cpu())).double().mean())
    return {name: found[name] for name in COLUMNS if name in found}
