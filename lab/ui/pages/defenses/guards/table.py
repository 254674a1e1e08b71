"""The tab that says image by image what the defended model sees under every attacker."""

from __future__ import annotations

from typing import Any

import streamlit as st

from lab.experiments.defenses.attackers import Defended
from lab.figures.defenses import ATTACKERS
from lab.ui.pages.defenses.guards.setup import Setup


def table(setup: Setup, result: Defended) -> None:
    """The class of each image, and what is seen in it, or whether it is rejected."""
    classes = setup.card.classes
    rows = []
    for i, name in enumerate(result.ids):
        row: dict[str, Any] = {"image": name, "class": classes[int(result.y[i])]}
        for t in result.trials:
            row[ATTACKERS[t.attacker]] = "rejected" if t.flagged[i] else classes[int(t.seen[i])]
        rows.append(row)
    st.dataframe(rows, hide_index=True, width="stretch", key="guard_table")
    st.caption("The class that the defended model sees in each image, or whether it is rejected.")
