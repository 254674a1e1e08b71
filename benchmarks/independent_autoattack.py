"""Robust accuracy of a bundled model under an independent AutoAttack, as reported on its card.

    pip install --no-deps pyautoattack==0.2.0
    LAB_DATA=FOLDER python -m benchmarks.independent_autoattack mnist/cnn_pgd_at 0.3 [IMAGES]

FOLDER holds the official files. An image counts as robust if it is classed right, clean and as attacked; attacked
images are clipped to the stated epsilon first.
"""

from __future__ import annotations

import sys

import torch
from pyautoattack import AutoAttack

import lab
from lab.predict import classes_of


def main(key: str, eps: float, images: int = 1000) -> None:
    """Prints the share of the first official test images that stand."""
    model = lab.load_model(key)
    data = lab.load_data(model.card.task, "official_test").rows(slice(0, images))
    attack = AutoAttack(model, eps=eps, norm="Linf", seed=0, version="standard")
    found = attack.run_standard_evaluation(data.x, data.y, batch_size=250)
    adversarial = found[0] if isinstance(found, tuple) else found
    adversarial = (data.x + (adversarial - data.x).clamp(-eps, eps)).clamp(0, 1)
    stands = torch.stack([classes_of(model, x) == data.y for x in (data.x, adversarial)]).all(0)
    print(f"{key} at {eps:g}: {stands.float().mean():.1%} of {len(data)} images")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:4]))
