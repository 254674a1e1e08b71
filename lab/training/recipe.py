"""Recipes: how each shipped net is made, from its TOML file to its weights and its card."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lab import devices
from lab.assets import ASSETS
from lab.data.official import CLASSES, HELD_OUT, load_official, training_images
from lab.images import Images
from lab.models.cards import RobustAccuracy
from lab.models.nets import RBF, Shape, build, count_parameters
from lab.models.weights import load_into, save_weights, write_bytes
from lab.params import describe, number, parse
from lab.progress import SILENT, Progress
from lab.records import as_json
from lab.training.fit import Augment, Epoch, fit
from lab.training.measure import clean_accuracy, pgd_accuracy
from lab.training.rules import (
    PGD,
    Adversarial,
    Distillation,
    EnsembleAdversarial,
    Fast,
    Free,
    Margin,
    Noisy,
    Rule,
    Standard,
    Tempered,
    Trades,
)
from lab.types import DataError, ParamError

FOLDER = Path(__file__).parent / "recipes"

RULES: Mapping[str, type] = {
    "standard": Standard,
    "noise": Noisy,
    "adversarial": Adversarial,
    "pgd": PGD,
    "fast": Fast,
    "trades": Trades,
    "free": Free,
    "distillation": Distillation,
    "ensemble": EnsembleAdversarial,
    "margin": Margin,
}
"""Rule names as recipes write them."""
SUBSETS: Mapping[str, slice] = {"all": slice(None), "half_a": slice(0, None, 2), "half_b": slice(1, None, 2)}
"""Which of the training images a recipe uses; the halves are disjoint and drawn at random, the same for every net."""
STORES: Mapping[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Recipe:
    """How a net is made.

    Attributes:
        key: "<dataset>/<name>", which is also the model's key.
        name: the net in plain English.
        summary: what it is for, in one sentence.
        dataset: key of the official data set.
        net: architecture in `lab.models.nets.NETS`.
        rule: name in RULES.
        rule_params: the rule's parameters; for the ensemble rule also `static`, the keys of the other nets.
        training: fields of `lab.training.fit.Settings`.
        augment: fields of `lab.training.fit.Augment`.
        subset: name in SUBSETS.
        validate: how many of the training images, the last ones, are kept for watching the training.
        store: name in STORES.
        eps: radii at which the card states robust accuracy.
        images: how many test images are attacked for it.
    """

    key: str
    name: str
    summary: str
    dataset: str
    net: str
    rule: str
    rule_params: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    augment: Mapping[str, Any] = field(default_factory=dict)
    subset: str = "all"
    validate: int = 0
    store: str = "float32"
    eps: tuple[float, ...] = ()
    images: int = 1000


def recipes() -> list[str]:
    """The keys of all recipes, by data set."""
    return sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.glob("*/*.toml"))


def load_recipe(key: str) -> Recipe:
    """The recipe of a model.

    Args:
        key: "<dataset>/<name>", or the path of a TOML file.

    Raises:
        ParamError: if there is no such recipe or it is not a valid one.
    """
    path = Path(key) if key.endswith(".toml") else FOLDER / f"{key}.toml"
    if not path.is_file():
        raise ParamError(f"there is no recipe '{key}': choose one of {', '.join(recipes())}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ParamError(f"the recipe {path.name} is not valid TOML: {e}") from e
    rule = dict(table.pop("rule", {}))
    try:
        recipe = Recipe(
            key=f"{table['dataset']}/{path.stem}",
            rule=rule.pop("name", "standard"),
            rule_params=rule,
            eps=tuple(number(e) for e in table.pop("eps", ())),
            **table,
        )
    except (KeyError, TypeError) as e:
        raise ParamError(f"the recipe {path.name} is incomplete or has an unknown entry: {e}") from e
    return _checked(recipe)


def run_recipe(
    key: str,
    out: Path,
    *,
    data_root: Path | None = None,
    device: torch.device | None = None,
    checkpoint: Path | None = None,
    progress: Progress = SILENT,
    **changes: Any,
) -> Iterator[Epoch]:
    """Trains a model by its recipe, measures it, and writes its weights and its card.

    Args:
        key: "<dataset>/<name>", or the path of a TOML file.
        out: the safetensors file to write; the card goes beside it, ending in .json.
        data_root: folder of the official data; else LAB_DATA, else ./data.
        device: where to train; by default the lab's device.
        checkpoint: file to resume from and to write after each epoch.
        progress: hears of every batch; where the work is to stop, the run ends and writes no weights.
        **changes: other values for the recipe's [training] entries, e.g. epochs=1.

    Yields:
        One `Epoch` after each. When the generator ends, the files are there, unless the work was to stop.

    Raises:
        ParamError: for a bad recipe or value.
        DataError: if the data are missing.
        ModelError: if the training diverges, or the checkpoint is of another run.
    """
    recipe = load_recipe(key)
    recipe = _checked(replace(recipe, training={**recipe.training, **changes}))
    device = device or devices.pick()
    data, held = _training_data(recipe, data_root)
    nets = _Nets(recipe, data, device)
    epoch: Epoch | None = None
    for epoch in _phases(recipe, nets, data, held, device, checkpoint, progress):
        yield epoch
    if epoch is None or (epoch.number < epoch.of and not epoch.note):
        return
    save_weights(nets.net, out, dtype=STORES[recipe.store], about={"architecture": recipe.net, "key": recipe.key})
    card = make_card(recipe, out, len(data), epoch.elapsed, data_root=data_root, device=device)
    write_bytes(out.with_suffix(".json"), (as_json(card) + "\n").encode())


def make_card(
    recipe: Recipe, weights: Path, images: int, seconds: float, *, data_root: Path | None, device: torch.device
) -> dict[str, Any]:
    """What is known of a trained model, measured on the weights as they were written.

    Args:
        recipe: how it was made.
        weights: its safetensors file.
        images: how many images it was trained on.
        seconds: how long the training took.
        data_root: folder of the official data.
        device: where to measure.
    """
    test = load_official(recipe.dataset, "test", data_root)
    net = load_into(_fresh(recipe), weights).eval().requires_grad_(False).to(device)
    x, y = test.x.to(device), test.y.to(device)
    n = recipe.images
    stands: list[RobustAccuracy] = [pgd_accuracy(net, x[:n], y[:n], eps=eps) for eps in recipe.eps]
    return {
        "key": recipe.key,
        "name": recipe.name,
        "summary": recipe.summary,
        "architecture": recipe.net,
        "dataset": recipe.dataset,
        "input_shape": list(_shape(recipe)),
        "classes": list(CLASSES[recipe.dataset]),
        "parameters": count_parameters(net),
        "stored_as": recipe.store,
        "rule": {"name": recipe.rule, **recipe.rule_params},
        "eps": recipe.rule_params.get("eps"),
        "accuracy": clean_accuracy(net, x, y),
        "accuracy_n": len(test),
        "accuracy_split": "official test set",
        "robust": [asdict(s) for s in stands],
        "training": dict(recipe.training) | {"augment": dict(recipe.augment)},
        "seconds": round(seconds, 1),
        "device": devices.describe(),
        "data": _about_data(recipe, images),
        "seed": recipe.training.get("seed", 0),
        "recipe": f"lab/training/recipes/{recipe.key}.toml",
        "command": f"python -m lab train {recipe.key} --out {recipe.key.replace('/', '_')}.safetensors",
        "licence": "as this repository; trained by it from scratch",
        "versions": {"python": platform.python_version(), "torch": torch.__version__}
        | {name: version(name) for name in ("safetensors", "numpy")},
    }


class _Nets:
    """The net of a recipe, fresh, and the other nets that its rule needs."""

    def __init__(self, recipe: Recipe, data: Images, device: torch.device) -> None:
        seed = int(recipe.training.get("seed", 0))
        self.net = _fresh(recipe, seed).to(device)
        self.teacher = _fresh(recipe, seed + 1).to(device) if recipe.rule == "distillation" else None
        if isinstance(self.net, RBF):
            self.net.place(data.x.to(device), data.y.to(device), torch.Generator().manual_seed(seed))


def _phases(
    recipe: Recipe,
    nets: _Nets,
    data: Images,
    held: Images | None,
    device: torch.device,
    checkpoint: Path | None,
    progress: Progress,
) -> Iterator[Epoch]:
    """All epochs of a recipe; a distillation first trains the teacher, then the student, counted as one training."""
    robust = {k: number(recipe.rule_params[k]) for k in ("eps",) if k in recipe.rule_params}
    attack = {**robust, "alpha": robust["eps"] / 4, "steps": 10} if robust else None
    common: dict[str, Any] = {"device": device, "augment": _augment(recipe), "validate": held, "attack": attack}
    common |= recipe.training
    if nets.teacher is None:
        rule = _rule(recipe, device)
        yield from fit(nets.net, data, rule, checkpoint=checkpoint, progress=progress, **common)
        return
    temperature = number(recipe.rule_params["temperature"])
    first = checkpoint.with_name(f"{checkpoint.stem}_teacher{checkpoint.suffix}") if checkpoint else None
    before = 0.0
    teaching, learning = progress.part(0.0, 0.5, "teacher"), progress.part(0.5, 1.0, "student")
    for epoch in fit(nets.teacher, data, Tempered(temperature), checkpoint=first, progress=teaching, **common):
        before = epoch.elapsed
        yield replace(epoch, of=2 * epoch.of)
    if progress.cancelled:
        return
    nets.teacher.requires_grad_(False)
    distilling = Distillation(nets.teacher, temperature)
    for epoch in fit(nets.net, data, distilling, checkpoint=checkpoint, progress=learning, **common):
        yield replace(epoch, number=epoch.number + epoch.of, of=2 * epoch.of, elapsed=epoch.elapsed + before)


def _rule(recipe: Recipe, device: torch.device) -> Rule:
    kind, given = RULES[recipe.rule], dict(recipe.rule_params)
    static = given.pop("static", None)
    values: dict[str, Any] = dict(parse(describe(kind, {}), given, f"the rule {recipe.rule}"))
    if kind is EnsembleAdversarial:
        values["static"] = [_shipped(key).to(device) for key in static or ()]
    rule: Rule = kind(**values)
    return rule


def _shipped(key: str) -> nn.Module:
    """A net whose weights are among the assets, frozen."""
    return load_into(_fresh(load_recipe(key)), ASSETS / "weights" / f"{key}.safetensors").eval().requires_grad_(False)


def _fresh(recipe: Recipe, seed: int = 0) -> nn.Module:
    return build(recipe.net, _shape(recipe), len(CLASSES[recipe.dataset]), seed=seed)


def _shape(recipe: Recipe) -> Shape:
    return (3, 32, 32) if recipe.dataset == "cifar10" else (1, 28, 28)


def _augment(recipe: Recipe) -> Augment:
    known = describe(Augment, {})
    return Augment(**parse(known, recipe.augment, "augment"))  # type: ignore[arg-type]


def _training_data(recipe: Recipe, root: Path | None) -> tuple[Images, Images | None]:
    """The images to train on, and those kept for watching the training."""
    data = subset(training_images(recipe.dataset, root), recipe.subset)
    if recipe.validate >= len(data):
        raise DataError(f"{recipe.validate} images cannot be kept for validation: there are only {len(data)}")
    if not recipe.validate:
        return data, None
    cut = len(data) - recipe.validate
    return data.rows(slice(0, cut)), data.rows(slice(cut, None))


def subset(data: Images, name: str) -> Images:
    """The images of a subset in SUBSETS, in the file's order.

    A half is every second image of a seeded shuffle: the file itself is not shuffled well enough (the nets of MNIST's
    even and odd positions differ by 0.6 points in accuracy).
    """
    if name == "all":
        return data
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return data.rows(order[SUBSETS[name]].sort().values.tolist())


def _about_data(recipe: Recipe, images: int) -> dict[str, Any]:
    held = HELD_OUT.get(recipe.dataset)
    about: dict[str, Any] = {"trained_on": images, "of": "official training file", "subset": recipe.subset}
    if held:
        about["held_out"] = f"items {held.start:,} to {held.stop - 1:,} of the training file, shown as unseen"
    if recipe.validate:
        about["validation"] = f"the last {recipe.validate:,} of the training images, for watching only"
    if recipe.dataset == "cifar10":
        about["copy"] = "a JPEG copy of CIFAR-10, slightly lossy, in training and in testing"
    return about


def _checked(recipe: Recipe) -> Recipe:
    """The recipe, if every name in it exists and every value fits.

    Raises:
        ParamError: otherwise.
    """
    for what, value, known in (
        ("dataset", recipe.dataset, CLASSES),
        ("rule", recipe.rule, RULES),
        ("subset", recipe.subset, SUBSETS),
        ("store", recipe.store, STORES),
    ):
        if value not in known:
            raise ParamError(f"the recipe {recipe.key} has the unknown {what} '{value}': use {', '.join(known)}")
    given = {k: v for k, v in recipe.rule_params.items() if k != "static"}
    parse(describe(RULES[recipe.rule], {}), given, f"the rule {recipe.rule}")
    _augment(recipe)
    return recipe
