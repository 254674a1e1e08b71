"""Rebuild assets/overview/: the result that the Overview page shows at first paint, and the page icon.

    python scripts/build_overview.py

The attack is the one that the Attack page opens with, run by the package as anyone would.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import lab
from lab.assets import ASSETS
from lab.attacks.catalog import find_attack
from lab.experiments.attack.request import Request
from lab.experiments.attack.run import run_attack
from lab.figures.pictures import amplify
from lab.images import encode

REQUEST = Request(
    model="imagenet/efficientnet_lite0",
    dataset="photographs",
    image="coffee",
    attack="mi_fgsm",
    params={p.name: p.default for p in find_attack("mi_fgsm").params} | {"eps": 4 / 255},
)


def main() -> None:
    """Run the attack and write its pictures and its manifest."""
    folder = ASSETS / "overview"
    folder.mkdir(exist_ok=True)
    model = lab.load_model(REQUEST.model)
    x = lab.load_picture(REQUEST.image, model.card)
    run = run_attack(REQUEST, model, x, model.card.classes)
    magnified, factor = amplify(run.delta[0])
    for name, picture in (("clean", x[0]), ("perturbation", magnified), ("attacked", run.result.x[0])):
        (folder / f"{name}.png").write_bytes(encode(picture))
    record = run.record() | {
        "model_name": model.card.name,
        "amplified": factor,
        "command": "python scripts/build_overview.py",
    }
    (folder / "result.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (folder / "icon.png").write_bytes(encode(icon()))


def icon() -> torch.Tensor:
    """A picture [3,64,64] whose right half is perturbed."""
    noise = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1)).sign()
    noise = noise.repeat_interleave(8, 1).repeat_interleave(8, 2)
    base = torch.tensor([0.0, 0.447, 0.698]).view(3, 1, 1).expand(3, 64, 64).clone()
    base[:, :, 32:] = (base + 0.3 * noise).clamp(0, 1)[:, :, 32:]
    return base


if __name__ == "__main__":
    main()
