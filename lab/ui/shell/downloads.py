"""Files to take away: what was measured, as JSON and CSV, from the one record that a result makes of itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import streamlit as st

from lab.records import as_json


class Recorded(Protocol):
    """A result that says of itself what a person takes away, and whether it was measured to its end."""

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was measured."""

    def record(self) -> dict[str, Any]:
        """Everything that was measured, and what it depends on, as JSON can hold it."""

    def rows(self) -> list[dict[str, Any]]:
        """The table of the measured values, one row each; all rows have the same columns."""


@dataclass(frozen=True)
class Offer:
    """A file to take away: what the button says, the ending of its name, its kind, and what it holds.

    What takes a while to make is made by a function once the button is pressed.
    """

    label: str
    ending: str
    mime: str
    data: str | bytes | Callable[[], str | bytes]


def offer_files(stem: str, key: str, offers: Sequence[Offer]) -> None:
    """Buttons in a row that download files, all named alike; `key` begins the buttons' keys."""
    for column, offer in zip(st.columns(len(offers)), offers, strict=True):
        column.download_button(
            offer.label,
            offer.data,
            f"{stem}.{offer.ending}",
            offer.mime,
            key=f"{key}_{offer.ending}",
            on_click="ignore",
            width="stretch",
            icon=":material/download:",
        )


def files_of(result: Recorded) -> tuple[Offer, ...]:
    """What every result offers: its rows as CSV; its record, with whether it is complete, as JSON."""
    record = result.record() | {"complete": result.complete}
    return (
        Offer("Table (.csv)", "csv", "text/csv", table_of(result.rows())),
        Offer("Everything (.json)", "json", "application/json", as_json(record)),
    )


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
