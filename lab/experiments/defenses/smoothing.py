"""What randomized smoothing makes certain, beside what is left under attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lab.attacks import attack
from lab.defenses.smoothing import ABSTAIN, ALPHA, Certified, Smoothed, certify, joined, predict
from lab.images import Images
from lab.models.cards import Classifier
from lab.progress import SILENT, Cancelled, Progress

RADII = (0.5, 1.0, 1.5, 2.0)
"""L2 sizes at which the smoothed model is attacked."""
STEPS = 20
"""How many steps PGD takes."""
DRAWS = 8
"""Noisy copies that an attacker averages who knows of the noise."""
VOTES = 200
"""Noisy copies that decide whether an attack was successful."""
VOTE_SEED = 7
"""Added to the seed for those copies, so that they are not the ones that the attacker averaged."""
ATTACKED = 40
"""How many certificates the attacks take as long as, for the progress."""


@dataclass(frozen=True)
class Smoothing:
    """Certificates of models, and what attackers of the first leave, together with all that they depend on.

    Attributes:
        certificates: by the models' keys, of the first images, as far as they came.
        attacked: pairs of L2 radius and accuracy of the first model under attack, by "unaware" and "aware".
        names: of the models, by their keys.
        classes: names of the classes.
        y: the images' classes [N].
        ids: their names [N].
        dataset: key of their data set.
        sigma: standard deviation of the noise.
        looks: noisy copies of each image.
        seed: of noise and attacks.
    """

    certificates: Mapping[str, Certified]
    attacked: Mapping[str, tuple[tuple[float, float], ...]]
    names: Mapping[str, str]
    classes: tuple[str, ...]
    y: Tensor
    ids: tuple[str, ...]
    dataset: str
    sigma: float
    looks: int
    seed: int

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""
        return all(len(each.classes) == len(self.ids) for each in self.certificates.values()) and all(
            len(self.attacked.get(who, ())) == len(RADII) for who in ("unaware", "aware")
        )

    def answer(self, model: str, index: int) -> str | None:
        """The class that the smoothed model sees in an image; None where it abstains."""
        seen = int(self.certificates[model].classes[index])
        return None if seen == ABSTAIN else self.classes[seen]

    def record(self) -> dict[str, Any]:
        """Certificates and accuracies as plain numbers; None stands for an answer that is not certain."""
        return {
            "dataset": self.dataset,
            "sigma": self.sigma,
            "looks": self.looks,
            "alpha": ALPHA,
            "seed": self.seed,
            "images": list(self.ids),
            "classes": self.y.tolist(),
            "models": [
                {
                    "model": key,
                    "answers": [None if c == ABSTAIN else c for c in each.classes.tolist()],
                    "radii": each.radius.tolist(),
                    "shares": each.share.tolist(),
                    "votes": each.votes.tolist(),
                }
                for key, each in self.certificates.items()
            ],
            "attack": {"attack": "pgd", "norm": "l2", "steps": STEPS, "draws": DRAWS, "votes": VOTES},
            "attacked": [
                {"attacker": who, "radius": radius, "accuracy": accuracy}
                for who, points in self.attacked.items()
                for radius, accuracy in points
            ],
        }

    def rows(self) -> list[dict[str, Any]]:
        """What each smoothed model answers, and how far that is certain, image by image."""
        return [
            {
                "model": self.names[key],
                "image": self.ids[i],
                "class": self.classes[int(self.y[i])],
                "answer": self.answer(key, i) or "abstains",
                "radius": float(each.radius[i]),
                "share, at least": float(each.share[i]),
            }
            for key, each in self.certificates.items()
            for i in range(len(each.classes))
        ]


def smoothed(
    models: Mapping[str, Classifier],
    data: Images,
    dataset: str,
    *,
    sigma: float,
    looks: int,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Iterator[Smoothing]:
    """Certifies images under several models, then attacks the first; tells what it has after each image and attack.

    Args:
        models: by key; the first is attacked, too.
        data: the images.
        dataset: key of their data set.
        sigma: standard deviation of the noise.
        looks: noisy copies of each image.
        seed: of noise and attacks.
        progress: hears of the model and of the attackers.

    Raises:
        Cancelled: where it was stopped; what was told before is whole.

    Source: Cohen et al. 2019; the aware attacker: Salman et al. 2019.
    """
    first = next(iter(models.values()))
    names = {key: model.card.name for key, model in models.items()}
    result = Smoothing({}, {}, names, first.card.classes, data.y, tuple(data.ids), dataset, sigma, looks, seed)
    total = len(models) * len(data) + ATTACKED
    for m, (key, model) in enumerate(models.items()):
        parts: list[Certified] = []
        for i in range(len(data)):
            progress.tell((m * len(data) + i) / total, key, f"image {i + 1}")
            parts.append(certify(model, data.x[i : i + 1], sigma=sigma, n=looks, seed=seed))
            result = replace(result, certificates={**result.certificates, key: joined(parts)})
            yield result
    attackers = {"unaware": first, "aware": Smoothed(first, sigma, DRAWS, seed)}
    plan = [(radius, who) for radius in RADII for who in attackers]
    attacks = progress.part(1 - ATTACKED / total, 1.0)
    for k, (radius, who) in enumerate(plan):
        part = attacks.part(k / len(plan), (k + 1) / len(plan), f"an {who} attacker at {radius:g}")
        part.tell(0.0)
        found = attack(
            "pgd",
            attackers[who],
            data.x,
            data.y,
            norm="l2",
            eps=radius,
            steps=STEPS,
            seed=seed,
            progress=part.part(0.0, 0.5),
        )
        if not found.complete:
            raise Cancelled
        classes = predict(first, found.x, sigma=sigma, n=VOTES, seed=seed + VOTE_SEED, progress=part.part(0.5, 1.0))
        part.check()
        point = (radius, float((classes == data.y).double().mean()))
        result = replace(result, attacked={**result.attacked, who: (*result.attacked.get(who, ()), point)})
        yield result
