"""lab catalog: what the lab has."""

from __future__ import annotations

import argparse
import json

import lab
from lab.cli.options import Commands
from lab.cli.outputs import say
from lab.index import read


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("catalog", help="what the lab has")
    parser.add_argument("--json", action="store_true", help="as JSON, with the parameters of every attack")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Lists the keys of everything."""
    if args.json:
        say(json.dumps({**lab.catalog(), "parameters": read()["parameters"]}, indent=2))
    else:
        say("\n".join(f"{kind}: {' '.join(keys) or '-'}" for kind, keys in lab.catalog().items()))
