"""On which device the tests run, and how many threads; see docs/architecture.md."""

import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:  # each process keeps to one thread: more would only hinder one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from lab import devices
from tests.support import card


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        help="where models lie: cpu, cuda, cuda:1, or card, which is pretended (default: where the lab puts them)",
    )


def pytest_configure(config):
    card.plug_in()  # before anything is differentiated: then torch counts its devices
    if chosen := config.getoption("--device"):
        devices.choose(chosen)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="shows what only a card can show: run it where there is a GPU"))


@pytest.fixture(autouse=True)
def _nothing_is_shared_between_tests():
    yield
    jobs = sys.modules.get("lab.ui.shell.jobs")
    if jobs is not None:
        jobs.forget_all()


@pytest.fixture(scope="session")
def device():
    """The device that the lab's models lie on."""
    return devices.pick()
