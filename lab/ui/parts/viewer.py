"""Pictures across the column: side by side, wiped or blinking over one another, zoomed and moved together."""

from __future__ import annotations

from collections.abc import Sequence

from lab.figures.pictures import data_url
from lab.ui.parts.component import component
from lab.ui.parts.tiles import Tile

WIDEST = 448
"""The largest width in pixels at which a picture is shown."""
_view = component("viewer")


def show_pictures(tiles: Sequence[Tile], key: str, pair: bool = False, widest: int = WIDEST) -> None:
    """Shows pictures [C,H,W] of one size, as large as the column allows; a narrow screen has two side by side.

    Args:
        tiles: with the two that are to be compared first, where there are such.
        key: of the widget.
        pair: whether the first two can be laid over one another.
        widest: the largest width in pixels at which a picture is shown.
    """
    shown = [
        {"title": tile.title, "caption": tile.caption, "help": tile.help or "", "image": data_url(tile.x, 1)}
        for tile in tiles
    ]
    _view(key=key, data={"tiles": shown, "pair": pair, "widest": widest})
