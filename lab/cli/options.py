"""The options that commands share, each declared once, and what is to be known of them before torch is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import lab
from lab.index import read

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Refused(Exception):
    """A key that the lab does not have, refused in the words of a `LabError`, for which torch would have to load."""


def attack(parser: argparse.ArgumentParser) -> None:
    """--attack KEY."""
    parser.add_argument("--attack", required=True, type=_one_of("attack"), metavar="KEY")


def attacks(parser: argparse.ArgumentParser) -> None:
    """--attacks KEY,KEY."""
    one = _one_of("attack")
    parser.add_argument(
        "--attacks", required=True, type=lambda text: [one(key) for key in listed(text)], metavar="KEY,KEY"
    )


def model(parser: argparse.ArgumentParser) -> None:
    """--model KEY."""
    parser.add_argument("--model", required=True, metavar="KEY")


def models(parser: argparse.ArgumentParser) -> None:
    """--models A,B."""
    parser.add_argument(
        "--models", required=True, type=listed, metavar="A,B", help="keys of models of one data set, e.g. mnist/cnn"
    )


def dataset(parser: argparse._ActionsContainer, *, required: bool = True, help: str | None = None) -> None:
    """--dataset KEY."""
    parser.add_argument("--dataset", required=required, type=_one_of("data set"), metavar="KEY", help=help)


def limit(parser: argparse.ArgumentParser, default: int = 100, of: str = "images of the data set") -> None:
    """--limit N."""
    parser.add_argument("--limit", type=int, default=default, metavar="N", help=f"{of} (default {default})")


def params(parser: argparse.ArgumentParser, help: str = "e.g. eps=8/255; repeatable") -> None:
    """--param NAME=VALUE, as often as wanted."""
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help=help)


def seed(parser: argparse.ArgumentParser) -> None:
    """--seed S."""
    parser.add_argument("--seed", type=int, default=0, metavar="S")


def device(parser: argparse.ArgumentParser) -> None:
    """--device DEVICE."""
    parser.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda or cuda:1 (default: LAB_DEVICE, else a GPU where there is one)"
    )


def repeats(parser: argparse.ArgumentParser) -> None:
    """--restarts R and --draws D."""
    parser.add_argument(
        "--restarts", type=int, default=1, metavar="R", help="the best of so many runs, with one seed after another"
    )
    parser.add_argument(
        "--draws", type=int, default=1, metavar="D", help="looks that each answer of a random model is averaged over"
    )


def json(parser: argparse.ArgumentParser, what: str) -> None:
    """--json FILE."""
    parser.add_argument("--json", metavar="FILE", help=f"write {what} here; - for the standard output")


def listed(text: str) -> list[str]:
    """The keys of A,B,C."""
    return [key.strip() for key in text.split(",") if key.strip()]


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """The parameters that were given as NAME=VALUE.

    Raises:
        ParamError: for a text without an equals sign.
    """
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise lab.ParamError(f"--param takes NAME=VALUE, for example eps=8/255, not '{text}'")
        given[name] = value
    return given


def _one_of(kind: str) -> Callable[[str], str]:
    """Takes a key of the catalogue, and refuses any other as the catalogue would."""
    known = read()[kind.replace(" ", "") + "s"]

    def key(text: str) -> str:
        if text not in known:
            raise Refused(f"there is no {kind} '{text}': the lab has {', '.join(known)}")
        return text

    return key
