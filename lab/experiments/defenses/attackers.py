"""What a defense is worth: against an attacker who does not know it, and against one who does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lab.answers import Answer
from lab.attacks import attack as run_attack
from lab.attacks.norms import per_row
from lab.data.catalog import CATALOG, TASKS
from lab.defenses.catalog import defend, find_defense
from lab.defenses.detect import Detector, Roc, roc, scores, threshold
from lab.gate import Around
from lab.models.cards import resized
from lab.predict import classes_of, logits_of
from lab.progress import SILENT, Cancelled, Progress
from lab.statistics import share, wilson
from lab.types import Model, Result

EOT_DRAWS = 8
"""Looks that an attacker averages who expects a random defense."""
TARGETS = 2
"""Wrong classes, the most probable first, that an attacker of a detector tries on every image."""


@dataclass(frozen=True)
class Trial:
    """One attacker's images, and what the model makes of them without and behind the defense.

    Attributes:
        attacker: "none", "oblivious", "naive", "adaptive" or "any": the worst of all for each image.
        description: what that attacker does, in one sentence.
        x: images [N,C,H,W], on the CPU.
        plain: classes that the undefended model sees [N].
        seen: classes that the defended model sees [N].
        flagged: whether a detector rejects the image [N]; False for defenses that detect nothing.
        scores: how suspicious a detector finds each image [N]; None without one.
    """

    attacker: str
    description: str
    x: Tensor
    plain: Tensor
    seen: Tensor
    flagged: Tensor
    scores: Tensor | None = None

    def stands(self, y: Tensor) -> Tensor:
        """Whether each image of class y does no harm [N]: classed right, or detected; of clean images, classed right
        and not detected.
        """
        right = self.seen == y
        return right & ~self.flagged if self.attacker == "none" else right | self.flagged

    def accuracy(self, y: Tensor) -> float:
        """The share that does no harm."""
        return float(self.stands(y).double().mean())

    def undefended(self, y: Tensor) -> float:
        """The accuracy of the undefended model on these images."""
        return float((self.plain == y).double().mean())

    def interval(self, y: Tensor) -> tuple[float, float]:
        """The 95% interval of the accuracy."""
        return wilson(int(self.stands(y).sum()), len(y))


@dataclass(frozen=True)
class Attackers:
    """How images are attacked: a method of the catalogue with its parameters, and the seed."""

    attack: str
    params: Mapping[str, Any]
    seed: int = 0

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        target: Tensor | None = None,
        *,
        first: bool = False,
        progress: Progress = SILENT,
    ) -> Tensor:
        """The attacked images [N,C,H,W]; where `first`, as they were when they first reached their goal.

        Raises:
            Cancelled: where the attack was stopped before its end.
        """
        result: Result = run_attack(
            self.attack,
            model,
            x,
            y,
            target=target,
            seed=self.seed,
            drop_solved=first,
            progress=progress,
            **dict(self.params),
        )
        if not result.complete:
            raise Cancelled
        return result.x


class Softmaxed(Around):
    """A model whose logits are the logarithms of its probabilities in 32 bits: the gradient vanishes where it is sure.

    What a textbook attack on probabilities sees; against it, defensive distillation seems to help.

    Source: Carlini and Wagner 2016, "Defensive distillation is not robust to adversarial examples".
    """

    def answer(self, x: Tensor) -> Answer:
        """The model's answer with logarithms of probabilities for logits."""
        return Answer.of(self.model, x).map(lambda z: z.softmax(1).clamp(min=torch.finfo(z.dtype).tiny).log())


class Cooled(Around):
    """A model whose logits are divided by a temperature, so that the usual loss has a gradient again."""

    def __init__(self, model: Model, temperature: float) -> None:
        super().__init__(model)
        self.temperature = temperature

    def answer(self, x: Tensor) -> Answer:
        """The model's answer, cooled."""
        return Answer.of(self.model, x).map(lambda logits: logits / self.temperature)


def transformed(
    key: str,
    model: Model,
    x: Tensor,
    y: Tensor,
    attackers: Attackers,
    *,
    progress: Progress = SILENT,
    **params: Any,
) -> Iterator[tuple[Trial, ...]]:
    """A transformation of the input under attackers who know ever more of it; tells what it has after each.

    Args:
        key: of the defense.
        model: the model that is defended.
        x: images [N,C,H,W].
        y: their classes [N].
        attackers: how they attack.
        progress: hears what the attacker at work does.
        **params: of the defense.

    Raises:
        Cancelled: where it was stopped; what was told before is whole.

    Source: Athalye, Carlini and Wagner 2018: BPDA for what has no useful gradient, EOT for what is random.
    """
    spec = find_defense(key)
    seed = attackers.seed
    plans: list[tuple[str, str, Model]] = [("oblivious", "attacks the model without the defense", model)]
    exact = defend(key, model, seed=seed + 1, **params)
    if not spec.exact:
        plans.append(("naive", "follows the gradient through the defense, which says nothing", exact))
        through = defend(key, model, backward="bpda", seed=seed + 1, **params)
        plans.append(("adaptive", "takes the identity for the defense's derivative (BPDA)", through))
    elif spec.random:
        plans.append(("naive", "follows the gradient of one random look at a time", exact))
        looks = defend(key, model, draws=EOT_DRAWS, seed=seed + 1, **params)
        plans.append(("adaptive", f"averages {EOT_DRAWS} random looks at every step (EOT)", looks))
    else:
        plans.append(("adaptive", "follows the gradient through the defense", exact))
    judge = defend(key, model, seed=seed, **params)
    yield from _trials(plans, not spec.random, model, judge, x, y, attackers, progress)


def distilled(
    teacher: Model,
    student: Model,
    x: Tensor,
    y: Tensor,
    attackers: Attackers,
    *,
    temperature: float,
    progress: Progress = SILENT,
) -> Iterator[tuple[Trial, ...]]:
    """A distilled net beside an ordinary one, as `transformed`.

    Args:
        teacher: the undefended net.
        student: the distilled one.
        x: images [N,C,H,W].
        y: their classes [N].
        attackers: how they attack.
        temperature: at which it was distilled.
        progress: hears what the attacker at work does.
    """
    plans: list[tuple[str, str, Model]] = [
        ("oblivious", "attacks the ordinary net and hopes that it carries over", teacher),
        ("naive", "follows the gradient of the distilled net's probabilities, which vanishes", Softmaxed(student)),
        ("adaptive", "divides its logits by the temperature first", Cooled(student, temperature)),
    ]
    yield from _trials(plans, True, teacher, student, x, y, attackers, progress)


def _trials(
    plans: list[tuple[str, str, Model]],
    steady: bool,
    plain: Model,
    judge: Model,
    x: Tensor,
    y: Tensor,
    attackers: Attackers,
    progress: Progress,
) -> Iterator[tuple[Trial, ...]]:
    """The trials of all plans; where the judge is steady, images that fool it are left as they are."""
    x = resized(x, plain)

    def trial(attacker: str, description: str, images: Tensor) -> Trial:
        seen = classes_of(judge, images)
        return Trial(attacker, description, images.cpu(), classes_of(plain, images), seen, torch.zeros(len(x)).bool())

    trials: tuple[Trial, ...] = (trial("none", "shows the clean images", x),)
    yield trials
    for k, (attacker, description, target) in enumerate(plans):
        part = progress.part(k / len(plans), (k + 1) / len(plans), f"an attacker who {description}")
        part.tell(0.0)
        images = attackers(target, x, y, first=steady and k > 0, progress=part)
        trials = (*trials, trial(attacker, description, images))
        yield trials
    yield (*trials, worst(trials, y))


def worst(trials: tuple[Trial, ...], y: Tensor) -> Trial:
    """For each image the attacker who harms most, the clean images among them: what the defense is really worth."""
    first, *others = sorted(trials, key=lambda trial: trial.attacker == "none")  # a clean image only if it does harm
    best = replace(first, attacker="any", description="takes the best of all these for every image")
    for other in others:
        take = best.stands(y) & ~other.stands(y)
        scored = best.scores is not None and other.scores is not None
        best = replace(
            best,
            x=torch.where(per_row(take, best.x), other.x, best.x),
            plain=torch.where(take, other.plain, best.plain),
            seen=torch.where(take, other.seen, best.seen),
            flagged=torch.where(take, other.flagged, best.flagged),
            scores=torch.where(take, other.scores, best.scores) if scored else None,  # type: ignore[arg-type]
        )
    return best


@dataclass(frozen=True)
class Detection:
    """A detector at work.

    Attributes:
        limit: the threshold.
        rate: the false-positive rate that it was set for, on one half of the clean images, drawn at random.
        false: the rate on the other half, measured.
        trials: as of `transformed`, on the images that were attacked.
        y: their classes [N].
        calibration: scores of the half that the threshold was set on.
        held: scores of the other half.
    """

    limit: float
    rate: float
    false: float
    trials: tuple[Trial, ...]
    y: Tensor
    calibration: Tensor
    held: Tensor

    def detected(self, attacker: str) -> float | None:
        """The detected share of an attacker's images that fool the model; None where none does."""
        trial = self.trial(attacker)
        return share(trial.flagged[trial.seen != self.y])

    def curve(self, attacker: str) -> Roc | None:
        """The ROC curve of held-out clean images against an attacker's that fool the model; None where none does."""
        trial = self.trial(attacker)
        fooled = trial.seen != self.y
        return roc(self.held, trial.scores[fooled]) if trial.scores is not None and fooled.any() else None

    def trial(self, attacker: str) -> Trial:
        """The trial of an attacker."""
        return next(t for t in self.trials if t.attacker == attacker)


def detected(
    detector: Detector,
    model: Model,
    clean: Tensor,
    x: Tensor,
    y: Tensor,
    attackers: Attackers,
    *,
    rate: float = 0.05,
    progress: Progress = SILENT,
) -> Iterator[Detection]:
    """A detector under an attacker who does not know it, and one who does; told after each.

    Args:
        detector: as it is used.
        model: the model that it guards.
        clean: clean images [M,C,H,W]; on a random half of them the threshold is set, on the other it is measured.
        x: images to attack [N,C,H,W], not among `clean`.
        y: their classes [N].
        attackers: how they attack.
        rate: false-positive rate that the threshold is set for.
        progress: hears what the attacker at work does.

    Raises:
        Cancelled: where it was stopped; what was told before is whole.

    Source: feature squeezing's protocol: Xu et al. 2018; the adaptive attack: the detector's `known`.
    """
    clean, x = resized(clean, model), resized(x, model)
    values = scores(detector, model, clean)
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(attackers.seed))
    calibration, held = values[order[: len(clean) // 2]], values[order[len(clean) // 2 :]]
    limit = threshold(calibration, rate)

    def trial(attacker: str, description: str, images: Tensor) -> Trial:
        value, seen = scores(detector, model, images), classes_of(model, images)
        return Trial(attacker, description, images.cpu(), seen, seen, value > limit, value)

    trials: tuple[Trial, ...] = (trial("none", "shows the clean images", x),)
    detection = Detection(limit, rate, float((held > limit).double().mean()), trials, y.cpu(), calibration, held)
    yield detection
    part = progress.part(0.0, 1 / (TARGETS + 1), "an attacker who does not know the detector")
    part.tell(0.0)
    trials = (*trials, trial("oblivious", "attacks the model alone", attackers(model, x, y, progress=part)))
    yield replace(detection, trials=trials)
    guarded = detector.known(model, limit)
    logits = logits_of(model, x)
    ranked = logits.scatter(1, y.cpu().unsqueeze(1), float("-inf")).topk(TARGETS, 1).indices.to(x.device)
    description = "has the detector in the loss, and tries the most probable wrong classes"
    tried: tuple[Trial, ...] = ()
    for k in range(1, TARGETS + 1):
        part = progress.part(k / (TARGETS + 1), (k + 1) / (TARGETS + 1), "an attacker who knows the detector")
        part.tell(0.0)
        images = attackers(guarded, x, y, ranked[:, k - 1], first=True, progress=part)
        tried = (*tried, trial("adaptive", description, images))
    trials = (*trials, replace(worst(tried, y.cpu()), attacker="adaptive", description=description))
    yield replace(detection, trials=(*trials, worst(trials, y.cpu())))


@dataclass(frozen=True)
class Defended:
    """A defense under attackers who know ever more of it, together with all that the figures depend on.

    Attributes:
        trials: one for each attacker, as far as they came.
        y: the images' classes [N].
        ids: the images' names [N].
        dataset: key of their data set.
        defense: key of the defense; "distillation" for a distilled net.
        params: of the defense.
        model: key of the model that is defended.
        attackers: how the images were attacked.
        detection: where the defense is a detector, its threshold and scores.
    """

    trials: tuple[Trial, ...]
    y: Tensor
    ids: tuple[str, ...]
    dataset: str
    defense: str
    params: tuple[tuple[str, Any], ...]
    model: str
    attackers: Attackers
    detection: Detection | None = None

    @property
    def complete(self) -> bool:
        """Whether every attacker had a turn."""
        return self.trial("any") is not None

    def trial(self, attacker: str) -> Trial | None:
        """The trial of an attacker, where there is one already."""
        return next((t for t in self.trials if t.attacker == attacker), None)

    def record(self) -> dict[str, Any]:
        """What each attacker left, and what that depends on."""
        record: dict[str, Any] = {
            "data set": TASKS[CATALOG[self.dataset].task],
            "dataset": self.dataset,
            "defense": self.defense,
            "params": dict(self.params),
            "model": self.model,
            "attack": self.attackers.attack,
            "attack params": dict(self.attackers.params),
            "seed": self.attackers.seed,
            "images": len(self.y),
            "complete": self.complete,
            "attackers": [
                {
                    "attacker": t.attacker,
                    "how": t.description,
                    "accuracy": t.accuracy(self.y),
                    "interval": list(t.interval(self.y)),
                    "undefended": t.undefended(self.y),
                    "rejected": share(t.flagged),
                }
                for t in self.trials
            ],
        }
        if self.detection is not None:
            record["detector"] = {
                "threshold": self.detection.limit,
                "set for": self.detection.rate,
                "false positives": self.detection.false,
            }
        return record

    def rows(self) -> list[dict[str, Any]]:
        """What the model sees in each image of each attacker, without and behind the defense."""
        return [
            {
                "image": name,
                "class": int(self.y[i]),
                "attacker": t.attacker,
                "undefended": int(t.plain[i]),
                "defended": int(t.seen[i]),
                "rejected": bool(t.flagged[i]),
                "score": None if t.scores is None else float(t.scores[i]),
            }
            for t in self.trials
            for i, name in enumerate(self.ids)
        ]
