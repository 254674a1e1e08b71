"""The lab's attacks beside those of the public libraries: same model object, images, epsilon and steps.

    pip install --no-deps --target DIR torchattacks==3.5.1 adv-lib==0.2.8 cleverhans==4.0.0 advertorch==0.2.3 \\
        pyautoattack==0.2.0 adversarial-robustness-toolbox==1.20.1 six scikit-learn joblib==1.5.3 threadpoolctl
    PYTHONPATH=DIR GOMP_SPINCOUNT=4000 python -m benchmarks.peers [--only bim_cnn,cw] [--repeat 5]

foolbox comes with requirements-dev.txt; a library that is not there is left out. Everything runs in one process, in
turn (A B C, B C A), so that what else the machine does hits all alike; medians. A competitor that needs longer than
LONG is measured once. The model is frozen, so that no library pays for gradients of weights, and in PyTorch's own
memory format, as anyone's network is: that the lab knows a faster one is part of what is measured.
Ratios are the lab's seconds, everything included, over a library's; in processor time they hold on a busy machine, too.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import lab
from lab import devices
from lab.attacks import CATALOG
from lab.models.torchvision import torchvision
from lab.types import LabError

LONG = 20.0
"""Seconds after which a competitor is not measured again."""
CLASSES = 10
"""Number of classes of every model on which a competitor asks for it."""

Given = Mapping[str, Any]
Competitor = Callable[[nn.Module, Tensor, Tensor, Tensor | None], Tensor]
"""(model, images, labels, targets or None) -> adversarial images."""


def prepare() -> None:
    """What the libraries expect of their surroundings: torchvision, and two things that no attack here needs."""
    torchvision()
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))  # adv-lib: plots
    sys.modules["torch.autograd.gradcheck"].zero_gradients = None  # type: ignore[attr-defined]  # advertorch: FAB


# One function a library: the attack by its name there -> a competitor.


def foolbox(kind: str, *, eps: float | None = None, **params: Any) -> Competitor:
    """foolbox 3.3.4."""
    fb = importlib.import_module("foolbox")

    def attack(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        criterion = (
            fb.criteria.Misclassification(y) if target is None else fb.criteria.TargetedMisclassification(target)
        )
        budget = {} if eps is None else {"epsilon": eps}
        method = getattr(fb.attacks, kind)(**params)
        return method.run(fb.PyTorchModel(model, bounds=(0, 1), device=x.device), x, criterion, **budget)

    return attack


def torchattacks(kind: str, **params: Any) -> Competitor:
    """torchattacks 3.5.1."""
    library = importlib.import_module("torchattacks")

    def attack(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        method = getattr(library, kind)(model, **params)
        if target is not None:
            method.set_mode_targeted_by_label(quiet=True)
        return method(x, y if target is None else target)

    return attack


def adv_lib(kind: str, **params: Any) -> Competitor:
    """adv-lib 0.2.8."""
    method = getattr(importlib.import_module("adv_lib.attacks"), kind)
    return lambda model, x, y, target: method(
        model, x, y if target is None else target, targeted=target is not None, **params
    )


def art(kind: str, **params: Any) -> Competitor:
    """Adversarial Robustness Toolbox 1.20.1; its way into numpy and back is part of its time."""
    evasion = importlib.import_module("art.attacks.evasion")
    wrap = importlib.import_module("art.estimators.classification").PyTorchClassifier

    def attack(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        kind_of_device = "gpu" if x.is_cuda else "cpu"
        loss, shape = nn.CrossEntropyLoss(), tuple(x.shape[1:])
        classifier = wrap(model, loss, shape, model(x[:1]).shape[1], clip_values=(0, 1), device_type=kind_of_device)
        method = getattr(evasion, kind)(classifier, verbose=False, batch_size=len(x), **params)
        found = method.generate(x.cpu().numpy(), (y if target is None else target).cpu().numpy())
        return torch.from_numpy(found).to(x)

    return attack


def cleverhans(kind: str, *args: Any, labels: bool = True, **params: Any) -> Competitor:
    """cleverhans 4.0; HopSkipJump takes no labels."""
    method = getattr(importlib.import_module(f"cleverhans.torch.attacks.{kind}"), kind)

    def attack(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        given = {"y": y if target is None else target, "targeted": target is not None} if labels else {}
        return method(model, x, *args, **given, **params).detach()

    return attack


def advertorch(kind: str, **params: Any) -> Competitor:
    """advertorch 0.2.3."""
    make = getattr(importlib.import_module("advertorch.attacks"), kind)

    def attack(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        aim = {} if target is None or kind == "JSMA" else {"targeted": True}
        return make(predict=model, **aim, **params).perturb(x, y if target is None else target)

    return attack


def pyautoattack(**params: Any) -> Competitor:
    """pyautoattack 0.2.0."""
    library = importlib.import_module("pyautoattack")

    def attack(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        method = library.AutoAttack(model, norm="Linf", seed=0, device=x.device, **params)
        found = method.run_standard_evaluation(x, y, batch_size=250)
        return found[0] if isinstance(found, tuple) else found

    return attack


# One row an attack: library -> how it is called with the lab's own parameters.

PEERS: Mapping[str, Mapping[str, Callable[[Given], Competitor]]] = {
    "bim": {
        "foolbox": lambda p: foolbox(
            "LinfBasicIterativeAttack", eps=p["eps"], abs_stepsize=p["alpha"], steps=p["steps"]
        ),
        "torchattacks": lambda p: torchattacks("BIM", eps=p["eps"], alpha=p["alpha"], steps=p["steps"]),
        "adv-lib": lambda p: adv_lib(
            "pgd_linf", ε=p["eps"], absolute_step_size=p["alpha"], steps=p["steps"], random_init=False
        ),
        "ART": lambda p: art("BasicIterativeMethod", eps=p["eps"], eps_step=p["alpha"], max_iter=p["steps"]),
        "cleverhans": lambda p: cleverhans(
            "projected_gradient_descent",
            *(p["eps"], p["alpha"], p["steps"], float("inf"), 0, 1),
            rand_init=False,
            sanity_checks=False,
        ),
        "advertorch": lambda p: advertorch(
            "LinfBasicIterativeAttack", eps=p["eps"], eps_iter=p["alpha"], nb_iter=p["steps"]
        ),
    },
    "pgd": {
        "foolbox": lambda p: foolbox(
            "LinfProjectedGradientDescentAttack", eps=p["eps"], abs_stepsize=p["alpha"], steps=p["steps"]
        ),
        "torchattacks": lambda p: torchattacks("PGD", eps=p["eps"], alpha=p["alpha"], steps=p["steps"]),
        "adv-lib": lambda p: adv_lib("pgd_linf", ε=p["eps"], absolute_step_size=p["alpha"], steps=p["steps"]),
        "ART": lambda p: art(
            "ProjectedGradientDescentPyTorch",
            eps=p["eps"],
            eps_step=p["alpha"],
            max_iter=p["steps"],
            num_random_init=1,
        ),
        "cleverhans": lambda p: cleverhans(
            "projected_gradient_descent",
            *(p["eps"], p["alpha"], p["steps"], float("inf"), 0, 1),
            sanity_checks=False,
        ),
        "advertorch": lambda p: advertorch("LinfPGDAttack", eps=p["eps"], eps_iter=p["alpha"], nb_iter=p["steps"]),
    },
    "mi_fgsm": {
        "foolbox": lambda p: foolbox("MIFGSM", eps=p["eps"], abs_stepsize=p["alpha"], steps=p["steps"]),
        "torchattacks": lambda p: torchattacks("MIFGSM", eps=p["eps"], alpha=p["alpha"], steps=p["steps"]),
        "ART": lambda p: art("MomentumIterativeMethod", eps=p["eps"], eps_step=p["alpha"], max_iter=p["steps"]),
        "advertorch": lambda p: advertorch(
            "LinfMomentumIterativeAttack", eps=p["eps"], eps_iter=p["alpha"], nb_iter=p["steps"]
        ),
    },
    "deepfool": {
        "adv-lib": lambda p: adv_lib("df", steps=p["steps"]),
        "foolbox": lambda p: foolbox("L2DeepFoolAttack", steps=p["steps"], candidates=10),
        "ART": lambda p: art("DeepFool", max_iter=p["steps"], epsilon=0.02, nb_grads=10),
    },
    "cw": {
        "adv-lib": lambda p: adv_lib(
            "carlini_wagner_l2", binary_search_steps=p["searches"], max_iterations=p["steps"], **CW_STEP
        ),
        "foolbox": lambda p: foolbox(
            "L2CarliniWagnerAttack", binary_search_steps=p["searches"], steps=p["steps"], stepsize=0.01, **CW_CONST
        ),
        "advertorch": lambda p: advertorch(
            "CarliniWagnerL2Attack",
            num_classes=CLASSES,
            binary_search_steps=p["searches"],
            max_iterations=p["steps"],
            **CW_STEP,
        ),
        "cleverhans": lambda p: cleverhans(
            "carlini_wagner_l2",
            CLASSES,
            binary_search_steps=p["searches"],
            max_iterations=p["steps"],
            lr=0.01,
            **CW_CONST,
        ),
    },
    "fmn": {
        "adv-lib": lambda p: adv_lib("fmn", norm=2, steps=p["steps"]),
        "foolbox": lambda p: foolbox("L2FMNAttack", steps=p["steps"]),
    },
    "lbfgs": {
        "advertorch": lambda p: advertorch(
            "LBFGSAttack",
            num_classes=CLASSES,
            batch_size=8,
            binary_search_steps=p["searches"],
            max_iterations=p["steps"],
        )
    },
    "jsma": {
        "ART": lambda p: art("SaliencyMapMethod", theta=p["theta"], gamma=p["gamma"]),
        "torchattacks": lambda p: torchattacks("JSMA", theta=p["theta"], gamma=p["gamma"]),
        "advertorch": lambda p: advertorch("JSMA", num_classes=CLASSES, theta=p["theta"], gamma=p["gamma"]),
    },
    "square": {
        "torchattacks": lambda p: torchattacks("Square", eps=p["eps"], n_queries=p["steps"]),
        "ART": lambda p: art("SquareAttack", eps=p["eps"], max_iter=p["steps"]),
    },
    "spsa": {
        "cleverhans": lambda p: cleverhans(
            "spsa", p["eps"], p["steps"], spsa_samples=p["samples"], clip_min=0, clip_max=1, sanity_checks=False
        ),
        "advertorch": lambda p: advertorch(
            "LinfSPSAAttack", eps=p["eps"], nb_iter=p["steps"], nb_sample=p["samples"], max_batch_size=128
        ),
        "torchattacks": lambda p: torchattacks(
            "SPSA", eps=p["eps"], nb_iter=p["steps"], nb_sample=p["samples"], max_batch_size=128
        ),
    },
    "hopskipjump": {
        "cleverhans": lambda p: cleverhans(
            "hop_skip_jump_attack", 2, labels=False, num_iterations=p["steps"], verbose=False
        ),
        "ART": lambda p: art("HopSkipJump", max_iter=p["steps"]),
        "foolbox": lambda p: foolbox("HopSkipJumpAttack", steps=p["steps"]),
    },
    "universal": {
        "ART": lambda p: art("UniversalPerturbation", eps=p["eps"], max_iter=5, attacker_params={"verbose": False})
    },
    "autoattack": {
        "pyautoattack": lambda p: pyautoattack(eps=p["eps"]),
        "torchattacks": lambda p: torchattacks("AutoAttack", eps=p["eps"], seed=0),
    },
}
CW_CONST = {"initial_const": 0.01}
CW_STEP = {"learning_rate": 0.01, **CW_CONST}


# What must hold besides the time, of (the lab's outcome, those of the libraries that the target names).


@dataclass
class Outcome:
    """What one competitor found, and how long it took each time."""

    seconds: list[float]
    processor: list[float]
    hit: Tensor
    l2: Tensor
    l0: Tensor
    queries: float

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def success(self) -> float:
        """Share of the images."""
        return self.hit.double().mean().item()

    def size(self, kind: str) -> float:
        """ "mean" or "median" L2, or "l0" mean count of values, of the images that reached the goal; NaN for none."""
        lengths = (self.l0 if kind == "l0" else self.l2)[self.hit].double()
        return (lengths.median() if kind == "median" else lengths.mean()).item() if len(lengths) else float("nan")


Check = Callable[[Outcome, Sequence[Outcome]], bool]
CHECKS: Mapping[str, Check] = {
    "as much success": lambda us, them: us.success >= max(o.success for o in them) - 0.01,
    "more success": lambda us, them: us.success > min(0.999, max(o.success for o in them)),
    "all that they fool": lambda us, them: all(bool((us.hit | ~o.hit).all()) for o in them),
    "the same images fooled": lambda us, them: all(torch.equal(us.hit, o.hit) for o in them),
    "mean L2 no larger": lambda us, them: us.size("mean") <= min(o.size("mean") for o in them if o.hit.any()),
    "median L2 no larger": lambda us, them: us.size("median") <= min(o.size("median") for o in them if o.hit.any()),
    "no more queries": lambda us, them: us.queries <= 1.02 * min(o.queries for o in them),
}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        attack: key in the lab's catalogue and in PEERS.
        images: how many, the first that the model gets right.
        params: for `lab.attack`, and translated for the others.
        at_most: the largest ratio of the lab's time to the fastest library's that is wanted; None for no number.
        against: the libraries that this is about; empty for all.
        checks: what must hold besides.
        only: the libraries that run; empty for all.
        targeted: whether the class after the label is to be reached.
        accuracy: the lab may stop working on an image once it is fooled, whatever the attack.
    """

    attack: str
    images: int
    params: Given
    at_most: float | None = None
    against: tuple[str, ...] = ()
    checks: tuple[str, ...] = ("as much success",)
    model: str = "fashion_mnist/cnn"
    only: tuple[str, ...] = ()
    targeted: bool = False
    accuracy: bool = False


CNN = {"eps": 8 / 255, "alpha": 0.5 / 255}
NET = {"eps": 4 / 255, "alpha": 0.5 / 255}
LITE = "imagenet/efficientnet_lite0"
CASES: Mapping[str, Case] = {
    "bim_cnn": Case("bim", 128, CNN | {"steps": 40}, 0.95),
    "pgd_cnn": Case("pgd", 128, CNN | {"steps": 40}, 0.95),
    "mi_fgsm_cnn": Case("mi_fgsm", 128, CNN | {"steps": 10}, 0.95),
    "bim_net": Case("bim", 8, NET | {"steps": 40}, 0.6, model=LITE),
    "pgd_net": Case("pgd", 8, NET | {"steps": 40}, 0.6, model=LITE),
    "mi_fgsm_net": Case("mi_fgsm", 8, NET | {"steps": 10}, 0.6, model=LITE),
    "accuracy": Case(
        "bim", 1000, {"eps": 0.1, "alpha": 0.01, "steps": 40}, 0.4, checks=("the same images fooled",), accuracy=True
    ),
    "deepfool": Case("deepfool", 32, {"steps": 50}, 0.8, ("adv-lib",), ("as much success", "median L2 no larger")),
    "deepfool_net": Case("deepfool", 2, {"steps": 50}, 0.5, model=LITE, only=("foolbox",)),
    "cw": Case("cw", 16, {"searches": 5, "steps": 100}, 0.9, checks=("all that they fool", "mean L2 no larger")),
    "fmn": Case("fmn", 32, {"steps": 100}, checks=("as much success", "median L2 no larger")),
    "lbfgs": Case("lbfgs", 8, {"searches": 5, "steps": 50}, 1.0, checks=("mean L2 no larger",), targeted=True),
    "jsma": Case("jsma", 32, {"theta": 1.0, "gamma": 0.1}, 1.0, ("ART",), ("more success",), targeted=True),
    "square": Case(
        "square",
        32,
        {"eps": 16 / 255, "steps": 500},
        0.6,
        ("torchattacks",),
        ("as much success", "no more queries"),
    ),
    "spsa": Case("spsa", 4, {"eps": 0.1, "steps": 10, "samples": 128}, 1.0),
    "hopskipjump": Case("hopskipjump", 4, {"steps": 10}, 1.0, checks=("mean L2 no larger",)),
    "universal": Case("universal", 32, {"eps": 0.1, "steps": 50}, 0.1, checks=("more success",)),
    "autoattack": Case("autoattack", 64, {"eps": 24 / 255}, 0.7, ("pyautoattack",), ("all that they fool",)),
    "autoattack_robust": Case(
        "autoattack",
        16,
        {"eps": 0.1},
        0.7,
        checks=("all that they fool",),
        model="fashion_mnist/cnn_pgd_at",
        only=("pyautoattack",),
    ),
}


def ours(case: Case) -> Callable[[nn.Module, Tensor, Tensor, Tensor | None], lab.Result]:
    """The lab's attack, everything included."""

    def attack(model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None) -> lab.Result:
        if case.accuracy:
            return lab.attack(case.attack, model, x, y, drop_solved=True, **case.params)
        return lab.attack(case.attack, model, x, y, target=target, **case.params)

    return attack


def chosen(case: Case, model: nn.Module) -> tuple[Tensor, Tensor]:
    """The first images that the model gets right, on its device."""
    imagenet = case.model.startswith("imagenet")
    data = lab.load_data("photographs" if imagenet else case.model.split("/")[0], card=model.card)
    x, y = (t[: 2 * case.images].to(devices.pick()) for t in (data.x, data.y))
    with torch.no_grad():
        right = (torch.cat([model(part) for part in x.split(100)]).argmax(1) == y).nonzero().flatten()[: case.images]
    return x[right], y[right]


@contextmanager
def counted(model: nn.Module) -> Iterator[list[int]]:
    """Counts the images that the model sees, without a wrapper; makes them float, for ART turns some into doubles."""
    seen = [0]

    def count(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        seen[0] += len(args[0])
        return (args[0].float(),)

    hook = model.register_forward_pre_hook(count)
    try:
        yield seen
    finally:
        hook.remove()


def timed(work: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Seconds on the clock and of the processor, all cores together; and what came out."""
    start, busy = time.perf_counter(), time.process_time()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start, time.process_time() - busy), found


def compare(case: Case, repeat: int) -> dict[str, Outcome]:
    """Runs the lab and every library that is there, in turn; prints what cannot run."""
    model = lab.load_model(case.model).to(devices.pick()).to(memory_format=torch.contiguous_format)
    x, y = chosen(case, model)
    with torch.no_grad():
        target = (y + 1) % model(x[:1]).shape[1] if case.targeted else None
    competitors: dict[str, Competitor] = {}
    for library, make in PEERS[case.attack].items():
        if case.only and library not in case.only:
            continue
        try:
            competitors[library] = make(case.params)
        except ImportError as e:
            print(f"  {library}: not installed ({e.name}); the head of this file says how")
    warm_up(model, x, y)
    found: dict[str, Outcome] = {}
    names = ["lab", *competitors]
    for turn in range(repeat):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if name in found and found[name].seconds[0] > LONG:
                continue
            torch.manual_seed(0)
            if name == "lab":
                times, result = timed(lambda: ours(case)(model, x, y, target))
                adversarial, queries = result.x, result.queries.double().mean().item()
            else:
                with counted(model) as seen:
                    times, adversarial = timed(lambda c=competitors[name]: c(model, x.clone(), y.clone(), target))
                queries = seen[0] / len(x)
            if name not in found:
                found[name] = measured(model, x, y, target, adversarial, queries)
            found[name].seconds.append(times[0])
            found[name].processor.append(times[1])
    return found


def warm_up(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Two gradients of the whole batch."""
    for _ in range(2):
        inputs = x.clone().requires_grad_()
        torch.autograd.grad(nn.functional.cross_entropy(model(inputs), y), inputs)


def measured(
    model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None, adversarial: Tensor, queries: float
) -> Outcome:
    """Success as the model sees the images now, whatever the competitor says."""
    with torch.no_grad():
        predictions = torch.cat([model(part) for part in adversarial.detach().split(100)]).argmax(1)
    d = (adversarial.detach() - x).flatten(1)
    hit = predictions != y if target is None else predictions == target
    return Outcome([], [], hit.cpu(), d.norm(dim=1).cpu(), (d.abs() > 1e-6).sum(1).cpu(), queries)


@dataclass
class Verdict:
    """What a case says in one line."""

    fastest: str
    ratio: float
    processor: float
    target: str
    failed: list[str] = field(default_factory=list)


def judge(case: Case, found: Mapping[str, Outcome]) -> Verdict | None:
    """The lab against the fastest library of those that the target names; None where none of them ran."""
    us = found["lab"]
    them = {k: o for k, o in found.items() if k != "lab" and (not case.against or k in case.against)}
    if not them:
        return None
    fastest = min(them, key=lambda k: them[k].median)
    ratio, processor = (
        statistics.median(a / b for a, b in zip(getattr(us, kind), getattr(them[fastest], kind), strict=False))
        for kind in ("seconds", "processor")
    )
    failed = [name for name in case.checks if not CHECKS[name](us, list(them.values()))]
    if case.at_most is not None and ratio > case.at_most:
        failed.insert(0, "time")
    return Verdict(fastest, ratio, processor, "none" if case.at_most is None else f"{case.at_most:g}", failed)


def tell(name: str, case: Case, found: Mapping[str, Outcome]) -> None:
    """Prints the outcomes of one case."""
    us = found["lab"]
    heads = ("seconds", "lab/it", "cpu", "success", "mean L2", "median", "L0", "queries")
    print(f"  {'':14}" + "".join(f"{head:>9}" for head in heads) + "  fooled")
    for who, o in found.items():
        ratio, busy = us.median / o.median, statistics.median(us.processor) / statistics.median(o.processor)
        extra, missing = int((o.hit & ~us.hit).sum()), int((us.hit & ~o.hit).sum())
        print(
            f"  {who:14}{o.median:9.3f}{ratio:9.2f}{busy:9.2f}{o.success:9.3f}{o.size('mean'):9.4f}"
            f"{o.size('median'):9.4f}{o.size('l0'):9.0f}{o.queries:9.1f}"
            + ("" if who == "lab" else f"  +{extra} -{missing}")
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Prints every case as it is measured, and a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--repeat", type=int, default=5, help="rounds")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # the libraries' own
    prepare()
    lines = []
    for name in args.only.split(","):
        if name not in CASES:
            parser.error(f"there is no case '{name}': there are {', '.join(CASES)}")
        case = CASES[name]
        print(f"{name}: {case.attack} on {case.model}, {case.images} images, {dict(case.params)}", flush=True)
        if case.attack not in CATALOG:
            print(f"  skipped: '{case.attack}' is not in the catalogue yet")
            continue
        try:
            found = compare(case, args.repeat)
        except LabError as e:
            print(f"  skipped: {e}")
            continue
        tell(name, case, found)
        verdict = judge(case, found)
        if verdict is None:
            print("  none of the libraries that the target names is there")
            continue
        met = "yes" if not verdict.failed else "no: " + ", ".join(verdict.failed)
        lines.append(
            f"| {name} | {verdict.fastest} | {verdict.ratio:.2f} | {verdict.processor:.2f} | {verdict.target} | {met} |"
        )
    print("\n| case | fastest library | lab / it | in processor time | at most | met |\n|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
