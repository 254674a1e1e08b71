"""The command line: lab COMMAND, or python -m lab COMMAND.

Each command is a module with `add`, which declares its options, and `run`, which does what they ask. What a command
computes with is imported by `run`, so that help, a misspelt option and an unknown key are answered without torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import lab
from lab.cli import (
    app,
    attack,
    blackbox,
    catalog,
    clever,
    doctor,
    options,
    papers,
    robustness,
    serve,
    training,
    transfer,
)
from lab.cli.inputs import find_class
from lab.cli.options import Refused

__all__ = ["find_class", "main", "parser"]

COMMANDS = (doctor, catalog, attack, transfer, blackbox, serve, clever, robustness, training, papers, app)
"""The commands, in the order of the help."""


class Parser(argparse.ArgumentParser):
    """argparse with errors on one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message and exit code 2."""
        self.exit(2, f"{self.prog}: {_one_line(message)}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 when it did what was asked, 2 with one line on stderr otherwise."""
    try:
        args = parser().parse_args(argv)
        if args.device is not None:
            from lab import devices

            devices.choose(args.device)
        args.run(args)
    except KeyboardInterrupt:
        sys.stderr.write("lab: stopped\n")
        return 130
    except (Refused, OSError) as e:
        return _refuse(e)
    except ValueError as e:
        if not isinstance(e, lab.LabError):
            raise
        return _refuse(e)
    except RuntimeError as e:
        from lab import devices

        told = devices.trouble(e)
        if told is None:
            raise
        return _refuse(told)
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser(prog="lab", description="An adversarial-robustness lab.")
    top.add_argument("--version", action="version", version=f"lab {lab.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    for each in commands.choices.values():
        options.device(each)
    return top


def _refuse(error: Exception) -> int:
    sys.stderr.write(f"lab: {_one_line(str(error))}\n")
    return 2


def _one_line(text: str) -> str:
    return " ".join(text.split())
