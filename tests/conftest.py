"""Where tests run in several processes, each keeps to one thread: more would only hinder one another."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
