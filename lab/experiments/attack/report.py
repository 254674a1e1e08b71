"""What is measured of an attacked image, the same for one and for many."""

from __future__ import annotations

from typing import Any

from lab.types import Result


def measures(result: Result, row: int = 0) -> dict[str, Any]:
    """Success, distances and cost of one image of a result, as JSON can hold them.

    Of a random model also in which share of fresh looks the goal is reached, and the 95% interval of that.
    """
    chance: dict[str, Any] = {}
    if result.chance is not None and result.interval is not None:
        low, high = result.interval[row].tolist()
        chance = {"chance": result.chance[row].item(), "chance_low": low, "chance_high": high}
    return {
        "success": bool(result.success[row]),
        **chance,
        "distance": {norm: sizes[row].item() for norm, sizes in result.distance.items()},
        "forward_passes": int(result.queries[row]),
        "backward_passes": int(result.backwards[row]),
    }


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """A record as the row of a table: the distances stand each in a column of its own, by the name of their norm."""
    return {**{name: value for name, value in record.items() if name != "distance"}, **record["distance"]}
