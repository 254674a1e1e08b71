"""Rebuild ``assets/overview/training.json``: what the Adversarial training view shows before anybody presses Train.

Run ``python -m scripts.build_training``: it repeats the training that is recorded there for each data set, with the
settings that the view begins with, and keeps the accuracies after every epoch. On two CPU cores it takes some minutes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from lab.assets import ASSETS
from lab.training.session import Plan, TrainingRun


def main() -> None:
    """Trains once for each data set, and writes the file."""
    path = ASSETS / "overview" / "training.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    for task, record in records.items():
        plan = Plan(**{**record["plan"], "params": tuple((name, value) for name, value in record["plan"]["params"])})
        *_, trained = TrainingRun(plan).run()
        records[task] = {"plan": asdict(plan), "epochs": [asdict(epoch) for epoch in trained.epochs]}
        sys.stdout.write(f"{task}: {trained.epochs[-1].validation}\n")
    path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
