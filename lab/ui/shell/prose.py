"""Sentences for people that are longer than a line: they live in the file how.md beside each page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PAGES = Path(__file__).parents[1] / "pages"


@cache
def sections(page: str) -> Mapping[str, str]:
    """The sections of a page's how.md, or of its own file where it is a view of another, by their headings (`## `)."""
    files = [*PAGES.glob(f"{page}/how.md"), *PAGES.glob(f"*/{page}.md")]
    if not files:
        return {}
    parts = re.split(r"^## +(.*)\n", files[0].read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {heading.strip(): text.strip() for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def prose(page: str, section: str, **values: object) -> str:
    """One section of a page's how.md, as Markdown.

    Args:
        page: the folder of the page.
        section: its heading.
        **values: what `{name}` stands for in the text; braces around anything else, as in formulas, stay.

    Raises:
        KeyError: where there is no such section.
    """
    text = sections(page)[section]
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text
