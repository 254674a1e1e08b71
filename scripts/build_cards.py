"""Writes the accuracies under PGD and AutoAttack that the store has to the cards of the models.

lab reproduce pgd/mnist/cnn --again --ship; lab reproduce autoattack/mnist/cnn --again --ship
python scripts/build_cards.py
"""

from __future__ import annotations

import json

from lab.assets import ASSETS
from lab.experiments.papers.autoattack import NOTES
from lab.experiments.papers.experiment import published
from lab.models.catalog import SHIPPED
from lab.store import shipped


def main() -> None:
    """Replaces the accuracy on each card that has been measured at the same epsilon before."""
    for key in SHIPPED:
        if shipped().of(f"pgd/{key}"):
            _write_pgd(key)
        for stored in shipped().of(f"autoattack/{key}"):
            details, figure = stored.record["details"], stored.record["figures"][0]
            file = ASSETS / "weights" / f"{key}.json"
            card = json.loads(file.read_text(encoding="utf-8"))
            others = [r for r in card["robust"] if r.get("notes") != NOTES or abs(r["eps"] - details["eps"]) > 1e-9]
            accuracy = {"accuracy": round(figure["value"], 4), "n": figure["n"], "notes": NOTES}
            accuracy["device"] = stored.device
            card["robust"] = [
                *others,
                {"attack": "autoattack", "norm": details["norm"], "eps": details["eps"], **accuracy},
            ]
            file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_pgd(key: str) -> None:
    """Replaces the accuracies under PGD on a card."""
    file, measured = ASSETS / "weights" / f"{key}.json", published(f"pgd/{key}")
    (stored,) = shipped().of(f"pgd/{key}")
    card = json.loads(file.read_text(encoding="utf-8"))
    for each in card["robust"]:
        figure = measured.get(f"accuracy at {each['eps']:g}")
        if each["attack"] == "pgd" and figure is not None:
            each |= {"accuracy": round(figure.value, 4), "n": figure.n, "device": stored.device}
    file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
