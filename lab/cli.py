"""The command line: python -m lab COMMAND."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

import lab
from lab import attacks, data, models
from lab.attacks.catalog import find as find_attack
from lab.experiments.blackbox.curves import prepare, scored
from lab.experiments.blackbox.oracle import Ask, Remote, labels_of
from lab.experiments.blackbox.substitute import PARAMS as SUBSTITUTE
from lab.experiments.blackbox.substitute import Substitute, balanced, copy_oracle
from lab.experiments.clever.score import PAPER, QUICK
from lab.experiments.robustness.curves import evaluate as security
from lab.experiments.robustness.curves import report, settings
from lab.experiments.transfer.matrix import Transfer, stream
from lab.images import encode
from lab.models.cards import Card, Classifier
from lab.models.catalog import find_model
from lab.params import number, parse
from lab.predict import logits_of
from lab.types import DataError, GoalError, LabError, ParamError, Result


class Parser(argparse.ArgumentParser):
    """argparse with errors on one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message and exit code 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 when it did what was asked, 2 with one line on stderr otherwise."""
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except (LabError, OSError) as e:
        sys.stderr.write(f"lab: {' '.join(str(e).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("lab: stopped\n")
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser(prog="lab", description="An adversarial-robustness lab.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    c = commands.add_parser("catalog", help="what the lab has")
    c.add_argument("--json", action="store_true", help="as JSON, with the parameters of every attack")
    c.set_defaults(run=catalog)

    a = commands.add_parser("attack", help="attack a picture, or images of a data set")
    a.add_argument("--model", required=True, metavar="KEY")
    a.add_argument("--attack", required=True, metavar="KEY")
    source = a.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", metavar="FILE", help="a picture file, or the id of a bundled photograph")
    source.add_argument("--dataset", metavar="KEY")
    a.add_argument("--limit", type=int, default=100, metavar="N", help="images of the data set (default 100)")
    a.add_argument("--target", metavar="CLASS", help="class to reach, by name or number; otherwise any wrong class")
    a.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="e.g. eps=8/255; repeatable")
    a.add_argument("--seed", type=int, default=0, metavar="S")
    a.add_argument("--out", type=Path, metavar="DIR", help="write the attacked images here as PNG")
    a.add_argument("--json", metavar="FILE", help="write the measures here; - for the standard output")
    a.set_defaults(run=attack)

    s = commands.add_parser("transfer", help="show each model's adversarial images to every other")
    s.add_argument("--models", required=True, metavar="A,B,C", help="keys of models of one data set")
    s.add_argument("--attack", required=True, metavar="KEY")
    s.add_argument("--dataset", required=True, metavar="KEY")
    s.add_argument("--limit", type=int, default=100, metavar="N", help="images of the data set (default 100)")
    s.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="e.g. eps=8/255; repeatable")
    s.add_argument("--seed", type=int, default=0, metavar="S")
    s.add_argument("--json", metavar="FILE", help="write the matrices here; - for the standard output")
    s.set_defaults(run=transfer)

    b = commands.add_parser(
        "blackbox", help="copy a black box that answers labels only, and attack it through the copy"
    )
    b.add_argument("--oracle", required=True, metavar="KEY", help="key of a model, or the address of an endpoint")
    b.add_argument("--dataset", required=True, metavar="KEY", help="where initial and test images come from")
    b.add_argument("--initial", type=int, default=150, metavar="N", help="images to begin with (default 150)")
    b.add_argument("--limit", type=int, default=500, metavar="N", help="test images, others than those (default 500)")
    b.add_argument("--budget", type=int, default=9600, metavar="N", help="labels that may be asked (default 9600)")
    b.add_argument("--eps", default="0.3", metavar="E", help="size of the FGSM examples (default 0.3)")
    b.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="e.g. rounds=4; repeatable")
    b.add_argument("--seed", type=int, default=0, metavar="S")
    b.add_argument("--json", metavar="FILE", help="write what each round brought here; - for the standard output")
    b.set_defaults(run=blackbox)

    v = commands.add_parser("serve", help="answer labels over HTTP: a black box to try attacks on")
    v.add_argument("model", metavar="MODEL", help="e.g. mnist/cnn")
    v.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    v.add_argument("--port", type=int, default=8600)
    v.set_defaults(run=serve)

    k = commands.add_parser("clever", help="estimate how far the nearest adversarial image is at least")
    k.add_argument("--model", required=True, metavar="KEY")
    k.add_argument("--dataset", required=True, metavar="KEY")
    k.add_argument("--limit", type=int, default=10, metavar="N", help="images of the data set (default 10)")
    k.add_argument("--norm", choices=("1", "2", "inf"), default="2")
    k.add_argument("--quick", action="store_true", help="{batches} batches of {samples} samples".format(**QUICK))
    k.add_argument("--batches", type=int, metavar="N", help="maxima per fit (default {batches})".format(**PAPER))
    k.add_argument("--samples", type=int, metavar="N", help="points per maximum (default {samples})".format(**PAPER))
    k.add_argument("--order", type=int, choices=(1, 2), default=1, help="2 for smooth networks, L2 only (default 1)")
    k.add_argument("--radius", type=float, default=5.0, metavar="R", help="of the ball that is sampled (default 5)")
    k.add_argument("--seed", type=int, default=0, metavar="S")
    k.add_argument("--json", metavar="FILE", help="write scores and fits here; - for the standard output")
    k.set_defaults(run=clever)

    e = commands.add_parser("evaluate", help="accuracy under attack against epsilon, for models and attacks")
    e.add_argument("--models", required=True, metavar="A,B")
    e.add_argument("--attacks", required=True, metavar="KEY,KEY")
    e.add_argument("--eps", required=True, metavar="E,E", help="sizes, e.g. 0,0.1,0.2 or 0,4/255,8/255")
    e.add_argument("--dataset", required=True, metavar="KEY")
    e.add_argument("--limit", type=int, default=100, metavar="N", help="images of the data set (default 100)")
    e.add_argument("--norm", choices=("linf", "l2", "l1"), default="linf")
    e.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="for all attacks that have it")
    e.add_argument("--seed", type=int, default=0, metavar="S")
    e.add_argument("--json", metavar="FILE", help="write curves and every image here; - for the standard output")
    e.set_defaults(run=evaluate)

    t = commands.add_parser("train", help="train a model by its recipe, measure it, and write weights and card")
    t.add_argument("recipe", help="e.g. mnist/cnn, or the path of a recipe file")
    t.add_argument("--dataset", metavar="KEY", help="must be the recipe's own; checked")
    t.add_argument("--out", type=Path, required=True, metavar="FILE", help="the weights, .safetensors; the card beside")
    t.add_argument("--data", type=Path, metavar="DIR", help="folder of the official data (default: LAB_DATA, or data/)")
    t.add_argument("--checkpoint", type=Path, metavar="FILE", help="saved after each epoch; a stopped run goes on here")
    t.set_defaults(run=train)
    return top


def catalog(args: argparse.Namespace) -> None:
    """Lists the keys of everything."""
    if not args.json:
        _say("\n".join(f"{kind}: {' '.join(keys) or '-'}" for kind, keys in lab.catalog().items()))
        return
    told: dict[str, Any] = dict(lab.catalog())
    told["parameters"] = {
        key: {
            p.name: {"default": p.default, "range": p.bounds, "choices": p.choices or None, "help": p.help}
            for p in spec.params
        }
        for key, spec in attacks.CATALOG.items()
    }
    _say(json.dumps(told, indent=2))


def attack(args: argparse.Namespace) -> None:
    """Attacks, prints a summary, and writes what was asked for."""
    given: dict[str, Any] = dict(_pair(p) for p in args.param)
    spec = find_attack(args.attack)
    method = spec.build(**given)  # a wrong parameter is told before a model is loaded
    with redirect_stdout(sys.stderr):  # torch says there what it fetches
        model = models.load_model(args.model)
    x, y, ids = _images(args, model.card)
    clean = logits_of(model, x)
    y = clean.argmax(1) if y is None else y
    target = None if args.target is None else find_class(args.target, model.card)
    if target is not None:
        x, y, ids, clean = _without(target, x, y, ids, clean)
    with _bar(len(ids), getattr(method, "steps", None)) as bar:
        result = attacks.attack(
            args.attack, model, x, y, target=target, seed=args.seed, watch=lambda step, share: bar.update(), **given
        )
    told = _measures(args, given, model.card, ids, y, clean, target, result)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, adversarial in zip(ids, result.x, strict=True):
            (args.out / f"{name}.png").write_bytes(encode(adversarial))
    if args.json == "-":
        _say(json.dumps(told, indent=2))
        return
    if args.json is not None:
        Path(args.json).write_text(json.dumps(told, indent=2), encoding="utf-8")
    _say(_summary(told))


def transfer(args: argparse.Namespace) -> None:
    """Prints how often the images made on each model (rows) fool every model (columns)."""
    given: dict[str, Any] = dict(_pair(p) for p in args.param)
    find_attack(args.attack).build(**given)
    keys, x, y, _, loaded = _together(args)
    width, told = max(map(len, keys)), {}
    try:
        for found in stream(loaded, loaded, x, y, args.attack, seed=args.seed, **given):
            told = {
                "attack": args.attack,
                "params": given,
                "dataset": args.dataset,
                "images": found.n,
                "sources": found.sources,
                "targets": found.targets,
                "cells": [[asdict(cell) for cell in row] for row in found.cells],
                "distortion": found.distortion,
            }
            if args.json != "-":
                _say(_row(args.attack, found, width))
    finally:  # a run that is stopped keeps what it had
        if args.json is not None and told:
            _keep(told, args.json)


def _row(attack: str, found: Transfer, width: int) -> str:
    """The newest row of a growing matrix; its head as long as there is none."""
    if not found.sources:
        head = " " * width + "".join(f"  {name:>{max(6, len(name))}}" for name in found.targets)
        counted = f"{attack}, {found.n} images that all of these class right"
        return f"{counted}; share that the column's model misclassifies\n{head}"
    cells = zip(found.cells[-1], found.targets, strict=True)
    return f"{found.sources[-1]:<{width}}" + "".join(f"  {c.success:>{max(6, len(t))}.1%}" for c, t in cells)


def _keep(told: Mapping[str, Any], file: str) -> None:
    """Writes what was measured to a file, or to the standard output where it is called -."""
    text = json.dumps(told, indent=2)
    if file == "-":
        _say(text)
    else:
        Path(file).write_text(text, encoding="utf-8")


def evaluate(args: argparse.Namespace) -> None:
    """Prints the accuracy at every epsilon as it is measured; the images are shared out among all GPUs."""
    given: dict[str, Any] = dict(_pair(p) for p in args.param)
    wanted = [key.strip() for key in args.attacks.split(",") if key.strip()]
    for key in wanted:
        find_attack(key).build(**settings(key, args.norm, given))
    sizes = [number(e) for e in args.eps.split(",")]
    keys, x, y, ids, loaded = _together(args)
    gpus = [f"cuda:{k}" for k in range(torch.cuda.device_count())]
    told: dict[str, Any] = {}
    last: tuple[str, str, int] = ("", "", 0)
    try:
        for done in security(
            dict(zip(keys, loaded, strict=True)),
            wanted,
            x,
            y,
            sizes,
            norm=args.norm,
            seed=args.seed,
            devices=gpus,
            **given,
        ):
            told = report(done, ids) | {"dataset": args.dataset, "params": given, "seed": args.seed}
            newest = done[-1]
            if args.json != "-" and (newest.model, newest.attack, len(newest.eps)) != last:
                start = last[2] if last[:2] == (newest.model, newest.attack) else 0
                for p in newest.curve[start:]:
                    where = f"{newest.model}  {newest.attack}  {args.norm} {p.eps:.4g}"
                    _say(f"{where}  {p.accuracy:.1%}  (95%: {p.low:.1%} to {p.high:.1%})")
                last = newest.model, newest.attack, len(newest.eps)
    finally:  # a run that is stopped keeps what it had
        if args.json is not None and told:
            _keep(told, args.json)


def _together(args: argparse.Namespace) -> tuple[list[str], Tensor, Tensor, list[str], list[Classifier]]:
    """Models of one data set by key, and its images in the size of the largest."""
    keys = [key.strip() for key in args.models.split(",") if key.strip()]
    cards = [find_model(key).card() for key in keys]
    if not cards:
        raise ParamError("--models needs at least one key, for example mnist/cnn,mnist/softmax")
    if others := [card.key for card in cards if card.task != cards[0].task]:
        raise DataError(f"{others[0]} does not know the classes of {keys[0]}: compare models of one data set")
    args.image, args.model = None, keys[0]
    x, y, ids = _images(args, max(cards, key=lambda card: card.input_shape[1]))
    with redirect_stdout(sys.stderr):
        loaded = [models.load_model(key) for key in keys]
    if y is None:
        raise DataError(f"{args.dataset} has no labels")
    return keys, x, y, ids, loaded


def blackbox(args: argparse.Namespace) -> None:
    """Prints what each round of the substitute attack brought."""
    settings = Substitute(**parse(SUBSTITUTE, dict(_pair(p) for p in args.param), "the substitute"))  # type: ignore[arg-type]
    eps = number(args.eps)
    if args.limit < 1:
        raise ParamError(f"--limit must be at least 1, not {args.limit}")
    remote = "://" in args.oracle
    images = data.load_data(args.dataset)
    first, rest = balanced(images, args.initial, args.seed)
    test = rest.rows(slice(0, args.limit))
    if remote:
        classes = int(images.y.max()) + 1
        ask: Ask = Remote(args.oracle, classes)
    else:
        model = models.load_model(args.oracle)
        if model.card.task != data.CATALOG[args.dataset].task:
            raise DataError(f"{args.oracle} does not know the classes of {args.dataset}")
        classes, ask = len(model.card.classes), labels_of(model)
    judge, oracle = prepare(ask, test, args.budget, settings.rounds, counted=remote, eps=eps, seed=args.seed)
    rounds: list[dict[str, Any]] = []
    told = {"oracle": args.oracle, "dataset": args.dataset, "eps": eps, "seed": args.seed, "budget": args.budget}
    told |= {"settings": asdict(settings), "test_images": len(test), "rounds": rounds}
    if args.json != "-":
        _say("round  queries  fit on them  agreement  FGSM fools  noise fools")
    try:
        for each in scored(copy_oracle(oracle, first.x, classes, settings, seed=args.seed), judge):
            r, s = each.round, each.score
            rounds.append({"round": r.number, "queries": r.queries, "fit": r.fit, **asdict(s)})
            if args.json != "-":
                counts, shares = f"{r.number:>5}  {r.queries:>7,}", (r.fit, s.agreement, s.fgsm, s.noise)
                _say(counts + "".join(f"{share:>{w}.1%}" for share, w in zip(shares, (13, 11, 12, 13), strict=True)))
    finally:  # a run that is stopped keeps what it had
        if args.json is not None and rounds:
            _keep(told, args.json)


def clever(args: argparse.Namespace) -> None:
    """Prints the scores of some images, each with the target that is nearest."""
    model = models.load_model(args.model)
    args.image = None
    x, _, ids = _images(args, model.card)
    usual = QUICK if args.quick else PAPER
    args.batches = usual["batches"] if args.batches is None else args.batches
    args.samples = usual["samples"] if args.samples is None else args.samples
    with tqdm(total=100, unit="%", desc=f"{len(ids)} images", leave=False, disable=not sys.stderr.isatty()) as bar:
        found = lab.clever(
            model,
            x,
            norm=float(args.norm),
            batches=args.batches,
            samples=args.samples,
            radius=args.radius,
            seed=args.seed,
            order=args.order,
            watch=lambda share: bar.update(int(100 * share) - bar.n),
        )
    nearest = found.by_target.argmin(1)
    told = {
        "model": args.model,
        "norm": args.norm,
        "batches": args.batches,
        "samples": args.samples,
        "radius": args.radius,
        "order": args.order,
        "seed": args.seed,
        "images": [
            {
                "id": name,
                "score": found.scores[i].item(),
                "targets": {
                    model.card.classes[target]: {
                        field: getattr(found, field)[i, t].item()
                        for field in ("by_target", "margin", "location", "shape", "scale", "p_value")
                    }
                    for t, target in enumerate(found.targets[i].tolist())
                },
            }
            for i, name in enumerate(ids)
        ],
    }
    if args.json == "-":
        _say(json.dumps(told, indent=2))
        return
    if args.json is not None:
        Path(args.json).write_text(json.dumps(told, indent=2), encoding="utf-8")
    _say(f"CLEVER on {args.model}, norm {args.norm}: an estimate of the distance to another class, no certificate")
    for i, name in enumerate(ids):
        target = model.card.classes[int(found.targets[i, nearest[i]])]
        _say(f"{name}: {found.scores[i]:.4g} (towards {target})")


def serve(args: argparse.Namespace) -> None:
    """Answers until it is interrupted."""
    from lab.experiments.blackbox.server import endpoint

    with endpoint(models.load_model(args.model), args.host, args.port) as server:
        host, port = server.server_address[:2]
        _say(f"{args.model} answers labels at http://{host!s}:{port}/label: POST a picture; stop with Ctrl-C")
        sys.stdout.flush()
        server.serve_forever()


def train(args: argparse.Namespace) -> None:
    """Trains by a recipe, one line an epoch."""
    from lab.training.recipe import load_recipe, run_recipe

    recipe = load_recipe(args.recipe)
    if args.dataset is not None and args.dataset != recipe.dataset:
        raise DataError(
            f"the recipe {args.recipe} trains on {recipe.dataset}, not on {args.dataset}: leave --dataset out"
        )
    for epoch in run_recipe(args.recipe, args.out, data_root=args.data, checkpoint=args.checkpoint):
        _say(str(epoch))
    _say(f"wrote {args.out} and {args.out.with_suffix('.json')}")


def find_class(text: str, card: Card) -> int:
    """The number of a class, from its number or name.

    Raises:
        GoalError: for a class that does not exist.
    """
    if re.fullmatch(r"-?[0-9]{1,9}", text) and text not in card.classes:
        index = int(text)
        if 0 <= index < len(card.classes):
            return index
        raise GoalError(
            f"class {index} does not exist: {card.name} has {len(card.classes)}, 0 to {len(card.classes) - 1}"
        )
    found = [i for i, name in enumerate(card.classes) if name.lower() == text.lower()]
    if not found:
        raise GoalError(f"{card.name} has no class '{text}': give its name as in the model's list, or its number")
    return found[0]


def _images(args: argparse.Namespace, card: Card) -> tuple[Tensor, Tensor | None, list[str]]:
    if args.image is not None:
        return data.load_picture(args.image, card), None, [Path(args.image).stem]
    if args.limit < 1:
        raise ParamError(f"--limit must be at least 1, not {args.limit}")
    spec = data.CATALOG.get(args.dataset)
    if spec is not None and spec.task != card.task:
        raise DataError(f"{args.model} does not know the classes of {args.dataset}: use a model of {spec.task}/")
    images = data.load_data(args.dataset, card=card)
    images = images.rows(slice(0, args.limit))
    return images.x, images.y, list(images.ids)


def _without(
    target: int, x: Tensor, y: Tensor, ids: list[str], clean: Tensor
) -> tuple[Tensor, Tensor, list[str], Tensor]:
    """Leaves out the images that are of the target class already."""
    rows = (y != target).nonzero().flatten().tolist()
    if not rows:
        raise GoalError("every image is of the target class already: choose another target")
    if len(rows) < len(ids):
        sys.stderr.write(f"lab: {len(ids) - len(rows)} images of the target class are left out\n")
    return x[rows], y[rows], [ids[i] for i in rows], clean[rows]


def _measures(
    args: argparse.Namespace,
    given: dict[str, str],
    card: Card,
    ids: list[str],
    y: Tensor,
    clean: Tensor,
    target: int | None,
    result: Result,
) -> dict[str, Any]:
    right = clean.argmax(1) == y
    success = result.success.cpu()
    rows = zip(ids, y.tolist(), clean.argmax(1).tolist(), result.predictions.tolist(), strict=True)
    return {
        "model": args.model,
        "attack": args.attack,
        "params": given,
        "target": target,
        "seed": args.seed,
        "summary": {
            "images": len(ids),
            "clean_accuracy": right.float().mean().item(),
            "attacked_accuracy": (result.predictions.cpu() == y).float().mean().item(),
            "success_on_right": (success & right).sum().item() / max(1, int(right.sum())),
            "mean_l2": result.distance["l2"].mean().item(),
            "largest_linf": result.distance["linf"].max().item(),
        },
        "images": [
            {
                "id": name,
                "label": label,
                "clean_class": before,
                "attacked_class": after,
                "attacked_name": card.classes[after],
                "success": bool(success[i]),
                "confidence": result.confidence[i].item(),
                "distance": {k: v[i].item() for k, v in result.distance.items()},
                "forward_passes": int(result.queries[i]),
                "backward_passes": int(result.backwards[i]),
            }
            for i, (name, label, before, after) in enumerate(rows)
        ],
    }


def _summary(told: dict[str, Any]) -> str:
    s, images = told["summary"], told["images"]
    if len(images) == 1:
        one = images[0]
        done = "reached" if one["success"] else "not reached"
        return (
            f"{told['attack']} on {told['model']}: the goal is {done}; it now sees {one['attacked_name']} "
            f"({one['confidence']:.1%}), no value moved by more than {one['distance']['linf'] * 255:.3g}/255"
        )
    return (
        f"{told['attack']} on {told['model']}, {s['images']} images: accuracy {s['clean_accuracy']:.1%} -> "
        f"{s['attacked_accuracy']:.1%}; goal reached on {s['success_on_right']:.1%} of those classed right at first; "
        f"mean L2 {s['mean_l2']:.3g}, largest change {s['largest_linf'] * 255:.3g}/255"
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ParamError(f"--param takes NAME=VALUE, for example eps=8/255, not '{text}'")
    return name, value


def _bar(images: int, steps: int | None) -> Any:
    total = None if steps is None else steps + 1
    return tqdm(total=total, unit="it", desc=f"{images} images", leave=False, disable=not sys.stderr.isatty())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
