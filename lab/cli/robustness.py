"""lab evaluate: robustness curves, accuracy under attack against epsilon."""

from __future__ import annotations

import argparse
from typing import Any

from lab.cli import options
from lab.cli.inputs import together
from lab.cli.outputs import bar, say, write


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("evaluate", help="accuracy under attack against epsilon, for models and attacks")
    options.models(parser)
    options.attacks(parser)
    parser.add_argument("--eps", required=True, metavar="E,E", help="sizes, e.g. 0,0.1,0.2 or 0,4/255,8/255")
    options.dataset(parser)
    options.limit(parser)
    parser.add_argument("--norm", choices=("linf", "l2", "l1"), default="linf")
    options.params(parser, "for all attacks that have it")
    options.seed(parser)
    options.repeats(parser)
    options.json(parser, "curves and every image")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints the accuracy at every epsilon as it is measured; the images are shared out among all GPUs."""
    from lab import devices
    from lab.experiments.robustness.curves import Robustness, evaluate, planned
    from lab.params import number

    params = options.pairs(args.param)
    planned(args.attacks, args.norm, params, args.restarts)  # what cannot be is refused before a model is loaded
    sizes = [number(e) for e in args.eps.split(",")]
    models, images = together(args.models, args.dataset, args.limit)
    record: dict[str, Any] = {}
    last: tuple[str, str, int] = ("", "", 0)
    try:
        with bar("robustness curves") as progress:
            for outcomes in evaluate(
                models,
                args.attacks,
                images.x,
                images.y,
                sizes,
                norm=args.norm,
                seed=args.seed,
                restarts=args.restarts,
                draws=args.draws,
                devices=devices.cards(),
                progress=progress,
                **params,
            ):
                given = tuple(sorted(params.items()))
                record = Robustness(
                    outcomes, tuple(images.ids), args.dataset, args.seed, given, args.restarts, args.draws
                ).record()
                newest = outcomes[-1]
                if args.json != "-" and (newest.model, newest.attack, len(newest.eps)) != last:
                    start = last[2] if last[:2] == (newest.model, newest.attack) else 0
                    for p in newest.curve[start:]:
                        where = f"{newest.model}  {newest.attack}  {args.norm} {p.eps:.4g}"
                        say(f"{where}  {p.accuracy:.1%}  (95%: {p.low:.1%} to {p.high:.1%})")
                    last = newest.model, newest.attack, len(newest.eps)
    finally:  # a run that is stopped keeps what it had
        if args.json is not None and record:
            write(record, args.json)
