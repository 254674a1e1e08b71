"""What a refusal must look like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.types import LabError


@contextmanager
def refused(kind: type[LabError], *words: str) -> Iterator[None]:
    """Expects exactly this kind of error, in one line that holds these words."""
    with pytest.raises(LabError) as caught:
        yield
    text = str(caught.value)
    assert type(caught.value) is kind, text
    assert len(text.splitlines()) == 1
    assert len(text) > 20
    for part in words:
        assert part in text
