"""lab serve: labels over HTTP."""

from __future__ import annotations

import argparse
import sys

from lab.cli import options
from lab.cli.inputs import load_model
from lab.cli.outputs import say


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("serve", help="answer labels over HTTP: a black box to try attacks on")
    parser.add_argument("model", metavar="MODEL", help="e.g. mnist/cnn")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8600)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Answers until it is interrupted."""
    from lab.experiments.blackbox.server import endpoint

    with endpoint(load_model(args.model), args.host, args.port) as server:
        host, port = server.server_address[:2]
        say(f"{args.model} answers labels at http://{host!s}:{port}/label: POST a picture; stop with Ctrl-C")
        sys.stdout.flush()
        server.serve_forever()
