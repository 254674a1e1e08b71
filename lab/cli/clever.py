"""lab clever: an estimate of how far the nearest adversarial image is at least."""

from __future__ import annotations

import argparse

import lab
from lab.cli import options
from lab.cli.inputs import images_for, load_model
from lab.cli.outputs import bar, say, write
from lab.index import read


def add(commands: options.Commands) -> None:
    """Declares the command."""
    paper, quick = read()["clever"]["paper"], read()["clever"]["quick"]
    parser = commands.add_parser("clever", help="estimate how far the nearest adversarial image is at least")
    options.model(parser)
    options.dataset(parser)
    options.limit(parser, 10)
    parser.add_argument("--start", type=int, default=0, metavar="N", help="the first of them, from 0 (default 0)")
    parser.add_argument("--norm", choices=("1", "2", "inf"), default="2")
    parser.add_argument("--quick", action="store_true", help="{batches} batches of {samples} samples".format(**quick))
    parser.add_argument("--batches", type=int, metavar="N", help="maxima per fit (default {batches})".format(**paper))
    parser.add_argument(
        "--samples", type=int, metavar="N", help="points per maximum (default {samples})".format(**paper)
    )
    parser.add_argument(
        "--order", type=int, choices=(1, 2), default=1, help="2 for smooth networks, L2 only (default 1)"
    )
    parser.add_argument(
        "--radius", type=float, default=5.0, metavar="R", help="of the ball that is sampled (default 5)"
    )
    options.seed(parser)
    options.json(parser, "scores and fits")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints the scores of some images, each with the target that is nearest."""
    from lab.experiments.clever.estimate import Estimate

    model = load_model(args.model)
    classes = model.card.classes
    images = images_for(model.card, args.dataset, args.limit, args.start)
    budget = dict(read()["clever"]["quick" if args.quick else "paper"])
    budget |= {name: n for name, n in (("batches", args.batches), ("samples", args.samples)) if n is not None}
    with bar(f"{len(images)} images") as progress:
        scores = lab.clever(
            model,
            images.x,
            norm=float(args.norm),
            **budget,
            radius=args.radius,
            order=args.order,
            seed=args.seed,
            progress=progress,
        )
    if args.json is not None:
        estimate = Estimate(scores, args.model, args.dataset, tuple(images.ids), classes)
        write(estimate.record(maxima=False), args.json)
    if args.json == "-":
        return
    say(f"CLEVER on {args.model}, norm {args.norm}: an estimate of the distance to another class, no certificate")
    nearest = scores.targets.gather(1, scores.by_target.argmin(1, keepdim=True)).flatten().tolist()
    for name, score, target in zip(images.ids, scores.scores.tolist(), nearest, strict=True):
        say(f"{name}: {score:.4g} (towards {classes[target]})")
