"""lab transfer: each model's adversarial images, shown to every other model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lab.cli import options
from lab.cli.inputs import together
from lab.cli.outputs import bar, say, write

if TYPE_CHECKING:
    from lab.experiments.transfer.matrix import Transfer


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("transfer", help="show each model's adversarial images to every other")
    options.models(parser)
    options.attack(parser)
    options.dataset(parser)
    options.limit(parser)
    options.params(parser)
    options.seed(parser)
    options.repeats(parser)
    options.json(parser, "the matrices")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints how often the images made on each model (rows) fool every model (columns)."""
    from lab.attacks.catalog import find_attack
    from lab.attacks.run import check_restarts
    from lab.experiments.transfer.matrix import Matrix, stream

    params = options.pairs(args.param)
    find_attack(args.attack).build(**params)
    check_restarts(find_attack(args.attack), args.restarts)
    models, images = together(args.models, args.dataset, args.limit)
    width = max(map(len, models))
    record: dict[str, Any] = {}
    try:
        with bar(args.attack) as progress:
            matrices = stream(
                models,
                models,
                images.x,
                images.y,
                args.attack,
                seed=args.seed,
                restarts=args.restarts,
                draws=args.draws,
                progress=progress,
                **params,
            )
            for transfer in matrices:
                given = tuple(params.items())
                record = Matrix(
                    transfer,
                    args.attack,
                    given,
                    args.seed,
                    args.dataset,
                    tuple(images.ids),
                    args.restarts,
                    args.draws,
                ).record()
                if args.json != "-":
                    say(_row(args.attack, transfer, width))
    finally:  # a run that is stopped keeps what it had
        if args.json is not None and record:
            write(record, args.json)


def _row(attack: str, transfer: Transfer, width: int) -> str:
    """The newest row of a growing matrix; its head as long as there is none."""
    if not transfer.sources:
        head = " " * width + "".join(f"  {name:>{max(6, len(name))}}" for name in transfer.targets)
        counted = f"{attack}, {transfer.n} images that all of these class right"
        return f"{counted}; share that the column's model misclassifies\n{head}"
    cells = zip(transfer.cells[-1], transfer.targets, strict=True)
    return f"{transfer.sources[-1]:<{width}}" + "".join(f"  {c.success:>{max(6, len(t))}.1%}" for c, t in cells)
