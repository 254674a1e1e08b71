"""Robust accuracy of a bundled model under the lab's own AutoAttack, written to its card.

    LAB_DATA=FOLDER python -m benchmarks.autoattack mnist/cnn_distilled 0.3 [IMAGES]

FOLDER holds the official files. An image counts as robust if the model classes it right, clean and as attacked; the
first official test images, the standard version, seed 0. `benchmarks.independent_autoattack` does the same with another
implementation.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import lab
from lab.assets import ASSETS

NOTES = "the lab's own AutoAttack, standard version: APGD-CE, APGD-T, FAB-T and Square; seed 0; the first test images"


def main(key: str, eps: float, images: int = 1000) -> None:
    """Prints the share of the first official test images that stand, and which stage broke the others."""
    model = lab.load_model(key)
    data = lab.load_data(model.card.task, "official_test").rows(slice(0, images))
    found = lab.attack("autoattack", model, data.x, data.y, eps=eps)
    accuracy = round(1 - found.success.double().mean().item(), 4)
    broken = {stage: n for stage, n in Counter(found.stage).items() if stage}
    print(f"{key} at {eps:g}: {accuracy:.1%} of {images} images; broken by {broken}")
    file = ASSETS / "weights" / f"{key}.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    others = [r for r in card["robust"] if r.get("notes") != NOTES or abs(r["eps"] - eps) > 1e-9]
    new = {"attack": "autoattack", "norm": "linf", "eps": eps, "n": images, "accuracy": accuracy, "notes": NOTES}
    card["robust"] = [*others, new]
    file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:4]))
