"""Sanity checks as several pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import streamlit as st

from lab.experiments.robustness.sanity import Check


def so_far(checks: Iterable[Check]) -> Iterator[tuple[Check, ...]]:
    """After each check, all that have been made."""
    made: tuple[Check, ...] = ()
    for check in checks:
        made = (*made, check)
        yield made


def show_checks(checks: Sequence[Check]) -> None:
    """The answers so far, each with its evidence."""
    for k, check in enumerate(checks):
        mark = {True: ":green[:material/check_circle:]", False: ":red[:material/cancel:]", None: ":material/help:"}
        with st.container(horizontal=True, vertical_alignment="center", key=f"check_{k}"):
            with st.container(width="stretch"):
                st.markdown(f"{mark[check.passed]} **{check.question}** {check.said}")
            if check.evidence:
                with st.popover("Evidence", width="content"):
                    st.dataframe(list(check.evidence), hide_index=True, key=f"evidence_{k}")
