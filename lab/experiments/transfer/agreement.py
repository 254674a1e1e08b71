"""Whether models that are fooled by the same images make the same mistakes, and what they see in noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from lab import devices
from lab.attacks.gradient import loss_gradient
from lab.predict import classes_of, logits_of
from lab.progress import SILENT, Progress
from lab.statistics import share
from lab.types import Goal, Model


@dataclass(frozen=True)
class Agreement:
    """FGSM's images of one model, and the classes that other models see in them; None is the share of no images.

    Attributes:
        error: share of all images that each model misclassifies, the source among them.
        same: of those that the source misclassifies, the share on which another sees the same wrong class.
        both: of those that the source and another misclassify, the share on which they see the same class.
        between: the same as `both` for each pair of the others, on the images that the source misclassifies.
        rubbish: share of pure noise, normally distributed, in which a model is more than half sure of a class.
        n: how many images.
    """

    error: Mapping[str, float | None]
    same: Mapping[str, float | None]
    both: Mapping[str, float | None]
    between: Mapping[tuple[str, str], float | None]
    rubbish: Mapping[str, float | None]
    n: int


def agreement(
    source: str,
    models: Mapping[str, Model],
    x: Tensor,
    y: Tensor,
    eps: float,
    *,
    noises: int = 2000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Agreement:
    """Moves every image by eps along the sign of the source's gradient and asks all models.

    Args:
        source: name of the model that the images are made on.
        models: by name, the source among them; all for images of one size.
        x: clean images [N,C,H,W] in [0,1].
        y: their classes, int64 [N].
        eps: size of the step. As in the paper, nothing is clipped, so values leave [0,1].
        noises: how many noise images each model is shown.
        seed: of the noise.
        progress: hears of the model that is asked.

    Raises:
        Cancelled: where the work is to stop.

    Source: Goodfellow et al. 2015, section 8 (the same class) and appendix A (rubbish class examples).
    """
    model = models[source]
    device = devices.of(model, x)
    progress.tell(0.0, source)
    _, _, slope = loss_gradient(model, x.to(device), Goal(y.to(device)))
    moved = x + eps * slope.sign().cpu()
    noise = torch.randn((noises, *x.shape[1:]), generator=torch.Generator().manual_seed(seed))
    seen: dict[str, Tensor] = {}
    sure: dict[str, Tensor] = {}
    for k, (name, asked) in enumerate(models.items(), 1):
        progress.tell(k / (len(models) + 1), name)
        seen[name] = classes_of(asked, moved)
        sure[name] = logits_of(asked, noise).softmax(1).amax(1) > 0.5
    wrong = {name: classes != y for name, classes in seen.items()}
    others = [name for name in models if name != source]
    fooled = wrong[source]
    return Agreement(
        error={name: share(w) for name, w in wrong.items()},
        same={name: share((seen[name] == seen[source])[fooled]) for name in others},
        both={name: share((seen[name] == seen[source])[fooled & wrong[name]]) for name in others},
        between={(a, b): share((seen[a] == seen[b])[fooled & wrong[a] & wrong[b]]) for a, b in combinations(others, 2)},
        rubbish={name: share(s) for name, s in sure.items()},
        n=len(x),
    )
