"""lab app: starts the pages."""

from __future__ import annotations

import argparse
import runpy
import sys

from lab.assets import APP
from lab.cli.options import Commands


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("app", help="start the pages on a server of this machine, until Ctrl-C")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, metavar="N", help="default 8501")
    parser.add_argument(
        "options", nargs="*", metavar="OPTION", help="after --, for streamlit: lab app -- --server.headless true"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Becomes the server, which takes its settings from .streamlit beside app.py, whatever the current folder."""
    chosen = {"--server.address": args.host, "--server.port": args.port}
    given = [f"{option}={value}" for option, value in chosen.items() if value is not None]
    sys.argv = ["streamlit", "run", str(APP / "app.py"), *given, *args.options]
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
