"""lab blackbox: a black box that answers labels only, copied and attacked through the copy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import lab
from lab.cli import options
from lab.cli.inputs import load_model
from lab.cli.outputs import bar, say, write

if TYPE_CHECKING:
    from lab.experiments.blackbox.curves import Copied
    from lab.experiments.blackbox.oracle import BlackBox


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "blackbox", help="copy a black box that answers labels only, and attack it through the copy"
    )
    parser.add_argument("--oracle", required=True, metavar="KEY", help="key of a model, or the address of an endpoint")
    options.dataset(parser, help="where initial and test images come from")
    parser.add_argument("--initial", type=int, default=150, metavar="N", help="images to begin with (default 150)")
    options.limit(parser, 500, "test images, others than those")
    parser.add_argument("--budget", type=int, default=9600, metavar="N", help="labels that may be asked (default 9600)")
    parser.add_argument("--eps", default="0.3", metavar="E", help="size of the FGSM examples (default 0.3)")
    options.params(parser, "e.g. rounds=4; repeatable")
    options.seed(parser)
    options.json(parser, "what each round brought")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints what each round of the substitute attack brought."""
    from lab import data
    from lab.experiments.blackbox.curves import Extraction, extract
    from lab.experiments.blackbox.oracle import Remote, labels_of
    from lab.experiments.blackbox.substitute import PARAMS, Substitute, balanced
    from lab.params import number, parse

    settings = Substitute(**parse(PARAMS, options.pairs(args.param), "the substitute"))  # type: ignore[arg-type]
    eps = number(args.eps)
    if args.limit < 1:
        raise lab.ParamError(f"--limit must be at least 1, not {args.limit}")
    remote = "://" in args.oracle
    images = data.load_data(args.dataset)
    first, rest = balanced(images, args.initial, args.seed)
    test = rest.rows(slice(0, args.limit))
    if remote:
        classes = int(images.y.max()) + 1
        ask: BlackBox = Remote(args.oracle, classes)
    else:
        model = load_model(args.oracle)
        if model.card.task != data.CATALOG[args.dataset].task:
            raise lab.DataError(f"{args.oracle} does not know the classes of {args.dataset}")
        classes, ask = len(model.card.classes), labels_of(model)
    record: dict[str, Any] = {}
    if args.json != "-":
        say("round  queries  fit on them  agreement  FGSM fools  noise fools")
    try:
        with bar("blackbox") as progress:
            for rounds in extract(
                ask,
                first.x,
                classes,
                test,
                settings,
                budget=args.budget,
                counted=remote,
                eps=eps,
                seed=args.seed,
                progress=progress,
            ):
                record = Extraction(
                    rounds,
                    args.oracle,
                    args.dataset,
                    str(args.initial),
                    len(test),
                    args.budget,
                    eps,
                    settings,
                    args.seed,
                ).record()
                if args.json != "-":
                    say(_row(rounds[-1]))
    finally:  # a run that is stopped keeps what it had
        if args.json is not None and record:
            write(record, args.json)


def _row(copied: Copied) -> str:
    """One round as a line of the table."""
    of, score = copied.round, copied.score
    shares = (of.fit, score.agreement, score.fgsm, score.noise)
    cells = ("–" if share is None else f"{share:.1%}" for share in shares)
    return f"{of.number:>5}  {of.queries:>7,}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(cells, (13, 11, 12, 13), strict=True)
    )
