"""lab doctor: one page about the installation."""

from __future__ import annotations

import argparse

import lab
from lab.cli import options
from lab.cli.outputs import say, write

MARKS = {"well": " ", "absent": "-", "wrong": "!"}


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("doctor", help="look this installation over: run it first, paste it into a bug report")
    options.json(parser, "what was found")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints what is found, as it is found; ends with 1 where something is wrong."""
    from lab.experiments.doctor.installation import Installation, examine

    found, about = [], ""
    for each in examine(lab.__version__):
        found.append(each)
        if args.json == "-":
            continue
        if each.about != about:
            about = each.about
            say(about)
        say(f"{MARKS[each.state]} {each.what:<28}  {each.found}")
    installation = Installation(tuple(found))
    if args.json is not None:
        write(installation.record(), args.json)
    if args.json != "-":
        say("All is well." if installation.sound else "What is marked ! is wrong.")
    if not installation.sound:
        raise SystemExit(1)
