"""Every page as a person meets it, without a browser."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "overview",
    "attack",
    "compare",
    "representations",
    "transfer",
    "blackbox",
    "clever",
    "robustness",
    "defenses",
    "capsules",
)
MNIST = {"model": "Convolutional net, MNIST", "attack": "BIM (I-FGSM)"}


def app(file: str = "app.py") -> AppTest:
    return AppTest.from_file(ROOT / file, default_timeout=60)


def settle(at: AppTest, seconds: float = 180) -> AppTest:
    """Runs the page until no job is at work."""
    deadline = time.monotonic() + seconds
    while True:
        at.run()
        assert not at.exception, at.exception[0].stack_trace
        if not at.session_state["_jobs"] if "_jobs" in at.session_state else True:
            return at
        if any(job.future.done() and (job.stop.is_set() or at.error) for job in at.session_state["_jobs"].values()):
            return at
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.1)


def open_page(page: str, **query: str) -> AppTest:
    at = app()
    at.query_params.update(query)
    return settle(
        at.switch_page(f"pages/{page}.py").run()
    )  # in AppTest app.py's widgets have their ids from the second run


def table(at: AppTest, column: str) -> pd.DataFrame:
    """The table that has this column."""
    return next(d.value for d in at.dataframe if column in d.value.columns)


def verdict(at: AppTest) -> str:
    return next(m.value for m in at.markdown if m.value.startswith("### "))
