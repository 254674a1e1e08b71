"""lab attack: attacks a picture, or images of a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lab
from lab.cli import options
from lab.cli.inputs import find_class, images_for, load_model
from lab.cli.outputs import bar, say, write

if TYPE_CHECKING:
    from lab.images import Images
    from lab.models.cards import Classifier


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("attack", help="attack a picture, or images of a data set")
    options.model(parser)
    options.attack(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", metavar="FILE", help="a picture file, or the id of a bundled photograph")
    options.dataset(source, required=False)
    options.limit(parser)
    parser.add_argument(
        "--target", metavar="CLASS", help="class to reach, by name or number; otherwise any wrong class"
    )
    options.params(parser)
    options.seed(parser)
    options.repeats(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the attacked images here as PNG")
    options.json(parser, "the measures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Attacks, prints a summary, and writes what was asked for."""
    from lab.attacks.catalog import find_attack
    from lab.attacks.run import check_restarts
    from lab.experiments.attack.batch import AttackedImages
    from lab.images import encode
    from lab.predict import classes_of

    params = options.pairs(args.param)
    find_attack(args.attack).build(**params)  # what cannot be is refused before a model is loaded
    check_restarts(find_attack(args.attack), args.restarts)
    model = load_model(args.model)
    images = _images(args, model)
    clean = classes_of(model, images.x)
    target = None if args.target is None else find_class(args.target, model.card)
    if target is not None:
        rows = _others(images, target)
        images, clean = images.rows(rows), clean[rows]
    with bar(f"{len(images)} images") as progress:
        result = lab.attack(
            args.attack,
            model,
            images.x,
            images.y,
            target=target,
            seed=args.seed,
            restarts=args.restarts,
            draws=args.draws,
            progress=progress,
            **params,
        )
    classes = model.card.classes
    attacked = AttackedImages(args.model, args.attack, params, target, args.seed, classes, images, clean, result)
    record = replace(attacked, restarts=args.restarts, draws=args.draws).record()
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, x in zip(images.ids, result.x, strict=True):
            (args.out / f"{name}.png").write_bytes(encode(x))
    if args.json is not None:
        write(record, args.json)
    if args.json != "-":
        say(_summary(record))


def _images(args: argparse.Namespace, model: Classifier) -> Images:
    """The images that are asked for; the class of a picture is the one that the model sees."""
    from lab.data import load_picture
    from lab.predict import classes_of

    if args.image is None:
        return images_for(model.card, args.dataset, args.limit)
    x = load_picture(args.image, model.card)
    return lab.Images(x, classes_of(model, x), [Path(args.image).stem])


def _others(images: Images, target: int) -> list[int]:
    """The rows of the images that are not of the target class already."""
    rows: list[int] = (images.y != target).nonzero().flatten().tolist()
    if not rows:
        raise lab.GoalError("every image is of the target class already: choose another target")
    if len(rows) < len(images):
        sys.stderr.write(f"lab: {len(images) - len(rows)} images of the target class are left out\n")
    return rows


def _summary(record: Mapping[str, Any]) -> str:
    summary, images = record["summary"], record["images"]
    if len(images) == 1:
        one = images[0]
        reached = "reached" if one["success"] else "not reached"
        return (
            f"{record['attack']} on {record['model']}: the goal is {reached}; it now sees {one['attacked_name']} "
            f"({one['confidence']:.1%}), no value moved by more than {one['distance']['linf'] * 255:.3g}/255"
        )
    return (
        f"{record['attack']} on {record['model']}, {summary['images']} images: accuracy "
        f"{summary['clean_accuracy']:.1%} -> {summary['attacked_accuracy']:.1%}; goal reached on "
        f"{summary['success_on_right']:.1%} of those classed right at first; "
        f"mean L2 {summary['mean_l2']:.3g}, largest change {summary['largest_linf'] * 255:.3g}/255"
    )
