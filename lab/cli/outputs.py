"""What commands say and write, and the bar that long ones show."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.progress import Progress


def say(text: str) -> None:
    """A line on the standard output, above a bar where one is drawn."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)


def write(record: Mapping[str, Any], file: str) -> None:
    """Writes what was measured to a file as JSON, or to the standard output where it is called -.

    A number that is not finite is written as null, for which JSON has no other word.
    """
    text = json.dumps(_finite(record), indent=2, allow_nan=False)
    if file == "-":
        say(text)
    else:
        Path(file).write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A bar on the standard error that follows the progress of some work, where a person looks on."""
    from tqdm import tqdm

    with tqdm(total=100, unit="%", desc=what, leave=False, disable=not sys.stderr.isatty()) as drawn:

        def hear(share: float, names: tuple[str, ...]) -> None:
            drawn.update(int(100 * share) - drawn.n)

        yield Progress(hear=hear)
