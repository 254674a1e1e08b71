"""The tab with the tables of Szegedy et al., as the lab measured them."""

from __future__ import annotations

import streamlit as st

from lab.experiments.transfer.matrix import Matrix
from lab.experiments.transfer.szegedy import REPORTED, Errors, load
from lab.ui.pages.transfer.setup import NAME, Setup
from lab.ui.shell.prose import prose


def disjoint(setup: Setup, result: Matrix) -> None:
    """The tables, measured beside reported."""
    measured = load()
    st.markdown(prose(NAME, "The first paper"))
    st.markdown("**Table 1: how far the nearest adversarial image is** (L-BFGS; root mean square change of a pixel)")
    rows = [
        {
            "net": net.name,
            "training error": _beside(net.train_error, paper.train_error, "%"),
            "test error": _beside(net.test_error, paper.test_error, "%"),
            "mean distortion": _beside(net.distortion, paper.distortion),
        }
        for net, paper in zip(measured.tables.nets, REPORTED.nets, strict=True)
    ]
    st.dataframe(rows, hide_index=True, width="stretch", key="table1")
    for key, title, here, paper in (
        ("table2", "Table 2: the same training images, other nets", measured.tables.transfer, REPORTED.transfer),
        ("table3", "Table 3: training images that share none", measured.tables.halves, REPORTED.halves),
        ("table4", "Table 4: the same, amplified to 0.1", measured.tables.amplified, REPORTED.amplified),
    ):
        st.markdown(f"**{title}** (error of the column's net on images made for the row's, %)")
        st.dataframe(_rows(here, paper), hide_index=True, width="stretch", key=key)
    st.caption(prose(NAME, "The tables", n=measured.n, command=measured.command))


def _beside(here: float, paper: float | None, unit: str = "") -> str:
    measured = f"{here:.3g}{unit}"
    return measured if paper is None else f"{measured} ({paper:.3g}{unit})"


def _rows(here: Errors, reported: Errors) -> list[dict[str, str]]:
    rows = []
    for name, cells in zip(here.rows, here.percent, strict=True):
        row = {"made for": name}
        for column, value in zip(here.columns, cells, strict=True):
            paper = reported.at(name, column) if name in reported.rows and column in reported.columns else None
            row[column] = "" if value is None else _beside(round(value, 1), paper)
        rows.append(row)
    return rows
