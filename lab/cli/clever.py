"""lab clever: an estimate of how far the nearest adversarial image is at least."""

from __future__ import annotations

import argparse

import lab
from lab.cli import options
from lab.cli.inputs import images_for, load_model
from lab.cli.outputs import bar, say, write
from lab.index import read

FIELDS = ("by_target", "margin", "location", "shape", "scale", "p_value")
"""What is written of every target."""


def add(commands: options.Commands) -> None:
    """Declares the command."""
    paper, quick = read()["clever"]["paper"], read()["clever"]["quick"]
    parser = commands.add_parser("clever", help="estimate how far the nearest adversarial image is at least")
    options.model(parser)
    options.dataset(parser)
    options.limit(parser, 10)
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
    model = load_model(args.model)
    classes = model.card.classes
    images = images_for(model.card, args.dataset, args.limit)
    budget = dict(read()["clever"]["quick" if args.quick else "paper"])
    budget |= {name: n for name, n in (("batches", args.batches), ("samples", args.samples)) if n is not None}
    settings = {**budget, "radius": args.radius, "order": args.order, "seed": args.seed}
    with bar(f"{len(images)} images") as progress:
        scores = lab.clever(model, images.x, norm=float(args.norm), watch=progress.tell, **settings)
    record = {
        "model": args.model,
        "norm": args.norm,
        **settings,
        "images": [
            {
                "id": name,
                "score": scores.scores[i].item(),
                "targets": {
                    classes[target]: {field: getattr(scores, field)[i, t].item() for field in FIELDS}
                    for t, target in enumerate(scores.targets[i].tolist())
                },
            }
            for i, name in enumerate(images.ids)
        ],
    }
    if args.json is not None:
        write(record, args.json)
    if args.json == "-":
        return
    say(f"CLEVER on {args.model}, norm {args.norm}: an estimate of the distance to another class, no certificate")
    nearest = scores.targets.gather(1, scores.by_target.argmin(1, keepdim=True)).flatten().tolist()
    for name, score, target in zip(images.ids, scores.scores.tolist(), nearest, strict=True):
        say(f"{name}: {score:.4g} (towards {classes[target]})")
