"""Sanity checks of a robustness measurement: signs that an attack was weak, not that a model is robust."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.attacks import attack
from lab.attacks.catalog import find_attack
from lab.attacks.gradient import loss_gradient
from lab.attacks.norms import NORMS, per_row
from lab.gate import check_batch, check_logits, make_goal, usable
from lab.models.cards import resized
from lab.params import number
from lab.predict import classes_of, logits_of
from lab.progress import SILENT, Progress
from lab.types import Goal, Model, ParamError, Result

STEPS = (10, 40, 100)
"""Numbers of steps of the attack that is made stronger."""
RESTARTS = 3
WITHOUT_GRADIENTS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "linf": ("square", "Square, scores only", {"steps": 300}),
    "l2": ("spsa", "SPSA, scores only", {"steps": 20, "samples": 16}),
}
"""An attack that sees no gradients, in the norms that there is one for."""
SHAKES = 10
"""Random perturbations of each image."""
NARROW = 1e-3
"""The spread of the logits of an image below which rounding decides."""
SLACK = 0.02
"""A share of the images that chance may decide."""


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes:
        question: what is asked.
        passed: whether the measurement stands it; None where it could not be asked.
        said: the answer in one sentence.
        evidence: a table, row by row.
    """

    question: str
    passed: bool | None
    said: str
    evidence: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Case:
    """What is checked: a model, images that it classes right, and the size of perturbations.

    Attributes:
        model: images -> logits.
        x: clean images [N,C,H,W].
        y: their classes [N].
        eps: size of the perturbation.
        norm: in which it is measured: "linf", "l2" or "l1".
        source: another model, on which images are made to transfer; None where there is none.
        seed: of all random numbers.
        progress: hears the questions; where it stops the work, no answer is given.
    """

    model: Model
    x: Tensor
    y: Tensor
    eps: float
    norm: str
    source: Model | None
    seed: int
    progress: Progress

    @property
    def huge(self) -> float:
        """An epsilon at which every image can become every other."""
        values = self.x[0].numel()
        return {"linf": 1.0, "l2": math.sqrt(values), "l1": float(values)}[self.norm]

    def written(self, eps: float) -> str:
        """A size, for a person."""
        return f"{255 * eps:.3g}/255" if self.norm == "linf" else f"{eps:.3g}"

    def attacked(self, key: str, eps: float | None = None, seed: int | None = None, **params: Any) -> Result:
        """The result of one attack, which leaves an image alone as soon as it is fooled.

        Raises:
            Cancelled: where it was stopped: what it had by then answers nothing.
        """
        if any(p.name == "norm" for p in find_attack(key).params):
            params["norm"] = self.norm
        result: Result = attack(
            key,
            self.model,
            self.x,
            self.y,
            eps=self.eps if eps is None else eps,
            seed=self.seed if seed is None else seed,
            drop_solved=True,
            progress=Progress(stop=self.progress.stop),
            **params,
        )
        self.progress.check()
        return result

    def accuracy(self, key: str, eps: float | None = None, **params: Any) -> float:
        """The accuracy under one attack; errors as in `attacked`."""
        return 1 - float(self.attacked(key, eps, **params).success.double().mean())


def check(
    model: Model,
    x: Tensor,
    y: Tensor,
    eps: float | str,
    *,
    norm: str = "linf",
    source: Model | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Iterator[Check]:
    """Asks whether a robust accuracy of this model could be believed, one question after the other.

    Args:
        model: images -> logits.
        x: clean images [N,C,H,W] in [0,1]; those that the model gets wrong are left out.
        y: their classes, int64 [N].
        eps: size of the perturbation, a number or text such as "8/255".
        norm: in which it is measured: "linf", "l2" or "l1".
        source: another model of the same classes, for images that transfer.
        seed: of all random numbers.
        progress: hears the questions.

    Raises:
        Cancelled: where it was stopped, in the middle of a question.
        ParamError: for another norm.

    Source: Carlini et al. 2019, "On evaluating adversarial robustness", section 3; Athalye, Carlini and Wagner 2018,
        section 3.1.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows(slice(0, 4))
        >>> checks = lab.check(lab.load_model("mnist/softmax"), digits.x, digits.y, "25/255")
        >>> first = next(checks)
        >>> first.question, first.passed
        ('Are these logits?', True)
    """
    x, y = check_batch(x, y)
    if norm not in NORMS:
        raise ParamError(f"norm must be {', '.join(NORMS)}, not {norm!r}")
    x = resized(x, model)
    logits = logits_of(model, x)
    check_logits(logits, len(x), Goal(y.cpu()))
    right = logits.argmax(1) == y.cpu()
    yield _logits(logits)
    if not right.any():
        yield Check("Is there anything to attack?", None, "The model classes none of these images right.", ())
        return
    rows = right.nonzero().flatten().to(x.device)
    case = Case(model, x[rows], y[rows], number(eps), norm, source, seed, progress)
    for k, ask in enumerate(QUESTIONS):
        progress.tell((k + 1) / (len(QUESTIONS) + 1))
        yield ask(case)


def _logits(logits: Tensor) -> Check:
    sums, low = logits.sum(1), float(logits.min())
    alike = bool((sums - 1).abs().max() < 1e-3) and low >= 0
    spread = float((logits.amax(1) - logits.amin(1)).median())
    if alike:
        said = "The outputs look like probabilities: gradients through a softmax vanish where the model is sure."
    elif spread < NARROW:
        said = "The outputs of an image hardly differ: rounding decides on the class, and on where gradients lead."
    else:
        said = (
            "The outputs are no probabilities: no softmax is in the model. Whether that of the loss saturates is next."
        )
    evidence = {
        "smallest output": low,
        "largest output": float(logits.max()),
        "sum of the first image's": float(sums[0]),
        "spread of an image's (median)": spread,
    }
    return Check("Are these logits?", not alike and spread >= NARROW, said, (evidence,))


def _gradients(case: Case) -> Check:
    goal, model = make_goal(case.x, case.y), usable(case.model, case.x)
    images = case.x.to(model.computed)
    slopes, before = [], _weights(case.model)
    for _ in range(2):
        parts = [
            loss_gradient(model, images[rows], goal.rows(rows))[2]
            for rows in torch.arange(len(images), device=images.device).split(64)
        ]
        slopes.append(torch.cat(parts).flatten(1).double())
    first, second = slopes
    nan = float((~first.isfinite()).any(1).double().mean())
    zero = float((first == 0).all(1).double().mean())
    same = F.cosine_similarity(_scaled(first), _scaled(second))
    random = float((same < 0.99).logical_and((first != 0).any(1)).double().mean())
    troubles = {"NaN or infinite": nan, "zero": zero, "different at the second look": random}
    found = [f"{share:.0%} are {name}" for name, share in troubles.items() if share > SLACK]
    changed = before != _weights(case.model)
    said = (
        f"Of the gradients, {' and '.join(found)}: attacks that follow them are blind there."
        if found
        else "Gradients are finite, hardly ever zero, and the same at a second look."
    )
    if changed:
        said += " The weights changed while the model was looked at: no two attacks meet the same model."
    rows = tuple({"gradients": name, "share of the images": f"{share:.1%}"} for name, share in troubles.items())
    return Check("Do the gradients tell anything?", not found and not changed, said, rows)


def _weights(model: Model) -> tuple[tuple[int, int], ...]:
    """What changes when a weight is written to."""
    if not isinstance(model, nn.Module):
        return ()
    return tuple((t.data_ptr(), t._version) for t in (*model.parameters(), *model.buffers()) if not t.is_inference())


def _scaled(g: Tensor) -> Tensor:
    """Gradients [N,D] whose largest value is 1, so that tiny ones can be compared."""
    g = g.nan_to_num()
    return g / g.abs().amax(1, keepdim=True).clamp(min=torch.finfo(g.dtype).tiny)


def _unbounded(case: Case) -> Check:
    rows = []
    for eps in (case.eps, 2 * case.eps, case.huge):
        size = min(eps, case.huge)
        rows.append((size, case.accuracy("pgd", eps=size, alpha=size / 4, steps=40)))
    last = rows[-1][1]
    passed = last <= SLACK
    said = (
        "With no bound the attack breaks every image, as it must."
        if passed
        else f"Even with no bound {last:.0%} of the images stand: the attack is too weak, for they can become anything."
    )
    evidence = tuple({"epsilon": case.written(eps), "accuracy under PGD-40": f"{a:.1%}"} for eps, a in rows)
    return Check("Does accuracy fall to 0 as epsilon grows?", passed, said, evidence)


def _steps(case: Case) -> Check:
    rows = [(f"{steps} steps", case.accuracy("pgd", steps=steps)) for steps in STEPS]
    best = torch.zeros(len(case.x), dtype=torch.bool)
    for k in range(RESTARTS):
        best |= case.attacked("pgd", seed=case.seed + k, steps=STEPS[0]).success.cpu()
    rows.append((f"{STEPS[0]} steps, {RESTARTS} starts", 1 - float(best.double().mean())))
    worse = rows[2][1] > rows[0][1] + SLACK
    gained = rows[0][1] - min(a for _, a in rows)
    if worse:
        said = "More steps make the attack weaker: it does not find its way, and its accuracy is not the model's."
    elif gained > 0.1:
        said = f"More steps and starts break {gained:.0%} more: the short attack had not come to its end."
    else:
        said = "More steps and starts do not hurt, and change little: the attack had come to its end, or is blind."
    evidence = tuple({"PGD": name, "accuracy": f"{a:.1%}"} for name, a in rows)
    return Check("Do more steps and restarts not hurt the attack?", not worse, said, evidence)


def _iterated(case: Case) -> Check:
    one, many = case.accuracy("fgsm"), case.accuracy("bim", steps=STEPS[1], alpha=2.5 * case.eps / STEPS[1])
    passed = many <= one + SLACK
    said = (
        "Many small steps break at least as much as one large one."
        if passed
        else "One large step breaks more than many small ones: the gradient is masked."
    )
    evidence = ({"attack": "FGSM", "accuracy": f"{one:.1%}"}, {"attack": f"BIM-{STEPS[1]}", "accuracy": f"{many:.1%}"})
    return Check("Is an iterated attack at least as strong as one step?", passed, said, evidence)


def _noise(case: Case) -> Check:
    rng = torch.Generator().manual_seed(case.seed)
    stands = torch.ones(len(case.x), dtype=torch.bool)
    for _ in range(SHAKES):
        signs = torch.randint(0, 2, case.x.shape, generator=rng).to(case.x) * 2 - 1
        sizes = case.eps / per_row(NORMS[case.norm].length(signs), signs)
        seen = classes_of(case.model, (case.x + sizes * signs).clamp(0, 1))
        stands &= seen == case.y.cpu()
    noise, pgd = float(stands.double().mean()), case.accuracy("pgd")
    passed = pgd < noise or noise <= SLACK
    said = (
        "The attack finds what chance does not."
        if passed
        else "The attack breaks no more than random signs of the same size: either both are too small, or it is blind."
    )
    evidence = (
        {"perturbation": f"random signs, the worst of {SHAKES}", "accuracy": f"{noise:.1%}"},
        {"perturbation": "PGD", "accuracy": f"{pgd:.1%}"},
    )
    return Check("Is the attack better than noise?", passed, said, evidence)


def _black_box(case: Case) -> Check:
    rows = {"PGD-100, white box": case.accuracy("pgd", steps=STEPS[2])}
    if case.norm in WITHOUT_GRADIENTS:
        key, name, params = WITHOUT_GRADIENTS[case.norm]
        rows[name] = case.accuracy(key, **params)
    if case.source is not None:
        made = attack(
            "mi_fgsm",
            case.source,
            resized(case.x, case.source),
            case.y,
            eps=case.eps,
            norm=case.norm,
            seed=case.seed,
            progress=Progress(stop=case.progress.stop),
        )
        case.progress.check()
        seen = classes_of(case.model, resized(made.x, case.model))
        rows["MI-FGSM, made on another model"] = float((seen == case.y.cpu()).double().mean())
    question = "Is white box at least as strong as black box and transfer?"
    if len(rows) == 1:
        return Check(question, None, "In this norm there is no attack to compare with, nor another model.", ())
    white, *others = rows.values()
    passed = white <= min(others) + SLACK
    said = (
        "Whoever sees the model's gradients breaks at least as much as those who do not."
        if passed
        else "An attack without gradients breaks more than the one that has them: the gradients mislead."
    )
    evidence = tuple({"attack": name, "accuracy": f"{a:.1%}"} for name, a in rows.items())
    return Check(question, passed, said, evidence)


QUESTIONS = (_gradients, _unbounded, _steps, _iterated, _noise, _black_box)
"""What is asked once there is something to attack, in order."""
