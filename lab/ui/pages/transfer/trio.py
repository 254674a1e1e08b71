"""The tab with the models of Goodfellow et al.: whether they make the same mistakes."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from lab.data import load_data
from lab.data.catalog import TASKS, of_task
from lab.experiments.transfer.agreement import Agreement, agreement
from lab.experiments.transfer.matrix import Matrix
from lab.progress import Progress
from lab.ui.pages.transfer.setup import NAME, Setup
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose
from lab.ui.shell.words import percent

TRIO = ("maxout", "softmax", "rbf")
"""The models of Goodfellow et al. 2015, section 8, the source first."""
EPS = {"mnist": 0.25, "fashion_mnist": 0.1}
IMAGES = 1000


def trio(setup: Setup, result: Matrix) -> None:
    """Agreement on the wrong class for maxout, softmax and RBF, beside the paper's figures."""
    task = setup.task if setup.task in EPS else "mnist"
    eps, (maxout, softmax, rbf) = EPS[task], TRIO
    st.markdown(prose(NAME, "The trio", eps=f"{eps:g}", task=TASKS[task]))

    def work(progress: Progress) -> Iterator[Agreement]:
        models = cache.models([f"{task}/{name}" for name in TRIO], progress.part(0.0, 0.3))
        data = load_data(of_task(task).key).rows(slice(0, IMAGES))
        named = dict(zip(TRIO, models.values(), strict=True))
        yield agreement(maxout, named, data.x, data.y, eps, progress=progress.part(0.3, 1.0))

    alike = answer("trio", task, "Attacking the maxout net", work)
    if alike is None:
        return
    rows = [
        ("softmax regression, on all the maxout net's mistakes", alike.same[softmax], "54.6%"),
        ("softmax regression, where both err", alike.both[softmax], "84.6%"),
        ("RBF net, on all the maxout net's mistakes", alike.same[rbf], "16.0%"),
        ("RBF net, where both err", alike.both[rbf], "54.3%"),
        ("RBF net and softmax regression, where both err", alike.between[softmax, rbf], "53.6%"),
        ("pure noise in which the maxout net is more than half sure of a class", alike.rubbish[maxout], "98.4%"),
        ("the same for softmax regression", alike.rubbish[softmax], "59.8%"),
        ("the same for the RBF net", alike.rubbish[rbf], "0%"),
    ]
    table = [
        {"the same wrong class as the maxout net": name, "here": percent(value), "in the paper": paper}
        for name, value, paper in rows
    ]
    st.dataframe(table, hide_index=True, width="stretch", key="trio")
    st.caption(prose(NAME, "Why they agree", n=f"{alike.n:,}"))
