"""Rebuild ``assets/overview/training.json``: what the Adversarial training view shows before anybody presses Train.

Run ``python -m scripts.build_training``: it opens the view, presses Train with the settings that the view begins with,
for each data set, and keeps the accuracies after every epoch. On two CPU cores it takes some minutes.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

from streamlit.testing.v1 import AppTest

from lab.assets import ASSETS

TASKS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def main() -> None:
    """Trains once for each data set, and writes the file."""
    records = {}
    for task, name in TASKS.items():
        at = AppTest.from_file("../app.py", default_timeout=120)
        at.query_params["defenses_view"], at.query_params["training_task"] = "Adversarial training", name
        at.switch_page("pages/defenses.py").run()
        at.button(key="training_train").click().run()
        while at.session_state["_jobs"]:
            time.sleep(2)
            at.run()
        (run,) = at.session_state["_trainings"].values()
        records[task] = {"plan": asdict(run.plan), "epochs": [asdict(epoch) for epoch in run.epochs]}
        sys.stdout.write(f"{name}: {run.epochs[-1].validation}\n")
    path = ASSETS / "overview" / "training.json"
    path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
