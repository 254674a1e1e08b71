"""What commands say and write, and the bar that long ones show."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.progress import Progress
from lab.records import as_json


def say(text: str) -> None:
    """A line on the standard output, above a bar where one is drawn."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)


def write(record: Mapping[str, Any], file: str) -> None:
    """Writes what was measured to a file as JSON, or to the standard output where it is called -."""
    text = as_json(record)
    if file == "-":
        say(text)
    else:
        Path(file).write_text(text, encoding="utf-8")


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A bar on the standard error that follows the progress of some work, where a person looks on."""
    from tqdm import tqdm

    with tqdm(total=100, unit="%", desc=what, leave=False, disable=not sys.stderr.isatty()) as drawn:

        def hear(share: float, names: tuple[str, ...]) -> None:
            drawn.update(int(100 * share) - drawn.n)

        yield Progress(hear=hear)
