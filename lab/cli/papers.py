"""lab reproduce: the figures of papers, cards and pages, measured again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lab.cli import options
from lab.cli.outputs import bar, say, write

if TYPE_CHECKING:
    from lab.experiments.papers.experiment import Figure


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("reproduce", help="measure the figures of papers, cards and pages again")
    parser.add_argument("id", nargs="?", metavar="ID", help="of an experiment; without one, all are listed")
    parser.add_argument("--list", action="store_true", help="list the experiments")
    parser.add_argument("--check", action="store_true", help="say which stored results are stale; 1 if one is")
    parser.add_argument("--quick", action="store_true", help="few images: to look around, not to quote")
    parser.add_argument("--again", action="store_true", help="measure even what the store has")
    parser.add_argument("--ship", action="store_true", help="keep the result with the lab, in assets/experiments")
    options.json(parser, "the figures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints the figures as they are measured; from the store where it has them."""
    from lab.experiments.papers.catalog import CATALOG, find_experiment
    from lab.experiments.papers.experiment import reproduce
    from lab.store import everything, shipped

    store = shipped() if args.ship else everything()
    chosen = list(CATALOG.values()) if args.id is None else [find_experiment(args.id)]
    if args.check:
        _check(chosen, store, args.quick)
        return
    if args.list or args.id is None:
        for experiment in chosen:
            say(f"{experiment.id:<32}  {experiment.title} ({experiment.source})")
        return
    record: dict[str, Any] = {}
    printed = 0
    try:
        with bar(args.id) as progress:
            for done in reproduce(chosen[0], quick=args.quick, again=args.again, store=store, progress=progress):
                record = done.record()
                for figure in done.figures[printed:] if args.json != "-" else ():
                    say(line(figure))
                printed = len(done.figures)
    finally:  # a run that is stopped keeps what it had
        if args.json is not None and record:
            write(record, args.json)


def line(figure: Figure) -> str:
    """A figure for a person."""
    share = figure.n is not None
    value = f"{figure.value:.1%}" if share else f"{figure.value:.4g}"
    interval = "" if figure.low is None else f"  (95%: {figure.low:.1%} to {figure.high:.1%}; n = {figure.n:,})"
    paper = "" if figure.reported is None else f"  paper: {figure.reported:g}"
    return f"{figure.what}: {value}{interval}{paper}"


def _check(experiments: Any, store: Any, quick: bool) -> None:
    from lab.experiments.papers.experiment import state

    stale = 0
    for experiment in experiments:
        found = state(experiment, store, quick)
        stale += found.startswith("stale")
        say(f"{experiment.id:<32}  {found}")
    if stale:
        raise SystemExit(1)
