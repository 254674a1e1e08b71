"""The tab with the models of a data set under AutoAttack, as measured for their cards."""

from __future__ import annotations

from typing import Any

import streamlit as st

from lab.experiments.robustness.curves import Robustness
from lab.figures.attack import scaled
from lab.models.cards import REFERENCE_EPS
from lab.models.catalog import find_model
from lab.ui.pages.robustness.setup import NAME, Setup
from lab.ui.shell import trained
from lab.ui.shell.prose import prose


def leaderboard(setup: Setup, result: Robustness) -> None:
    """The models of this data set, the one first that keeps most."""
    if setup.task not in REFERENCE_EPS:
        st.info("The ImageNet models come as their authors trained them; none was measured under AutoAttack.")
        return
    eps = REFERENCE_EPS[setup.task]
    rows: list[dict[str, Any]] = []
    for key in trained.keys(setup.task):
        card = find_model(key).card()
        full, pgd = card.measured("autoattack", eps), card.measured("pgd", eps)
        rows.append(
            {
                "model": card.name,
                "AutoAttack": full.accuracy if full else None,
                "PGD": pgd.accuracy if pgd else None,
                "clean": card.accuracy,
                "images": full.n if full else None,
            }
        )
    rows.sort(key=lambda r: (-(r["AutoAttack"] if r["AutoAttack"] is not None else -1), -(r["clean"] or 0)))
    percent = st.column_config.NumberColumn(format="percent")
    columns = dict.fromkeys(("AutoAttack", "PGD", "clean"), percent)
    st.dataframe(rows, hide_index=True, width="stretch", key="leaderboard", column_config=columns)
    own = " Your own models were measured on held-out images when they were saved." if trained.mine() else ""
    st.caption(
        prose(NAME, "The leaderboard", eps=f"{eps:g}", size=scaled(eps, "linf"), own=own, model=f"{setup.task}/cnn")
    )
