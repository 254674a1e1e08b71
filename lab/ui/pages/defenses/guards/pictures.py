"""One image under every attacker, and what the defense makes of it."""

from __future__ import annotations

from typing import Any

import streamlit as st
import torch
from torch import Tensor

from lab import devices
from lab.defenses.catalog import CATALOG, transformation
from lab.defenses.detect import capsules_of
from lab.defenses.preprocess import BitDepth, Median
from lab.experiments.defenses.attackers import Defended, Trial
from lab.models.cards import Card
from lab.predict import logits_of
from lab.types import Model
from lab.ui.pages.defenses.guards.setup import DISTILLATION, NAME, Setup
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask

SCALE = 0.75
"""The size of a picture, so that four stand side by side."""
PHOTOGRAPH = 100
"""Pixels of a picture so wide that only three stand side by side."""
TITLES = {
    "none": "Clean",
    "oblivious": "Unaware attacker",
    "naive": "Naive attacker",
    "adaptive": "Aware attacker",
}


def one_image(setup: Setup, result: Defended) -> None:
    """Draws the choice of an image, and the image under every attacker."""
    last = len(result.y) - 1
    st.markdown("#### One image")
    index = Ask(NAME).whole("image", f"Image, 0 to {last}", 0, last, 0, width=180)
    above = (
        "What" if setup.defense == DISTILLATION else "Above, what is sent in; below, what the defense makes of it. What"
    )
    st.caption(f"It shows: {setup.card.classes[int(result.y[index])]}. {above} the model sees is written under each.")
    left_out = ("any", "naive") if setup.card.input_shape[2] > PHOTOGRAPH else ("any",)
    show_tiles([_column(setup, t, index) for t in result.trials if t.attacker not in left_out], SCALE)


def _column(setup: Setup, trial: Trial, index: int) -> list[Tile]:
    model, x = cache.model(setup.model), trial.x[index : index + 1]
    top = Tile(TITLES[trial.attacker], x[0], _seen(model, x, setup.card))
    if setup.defense == DISTILLATION:
        student = _seen(cache.model(f"{setup.task}/cnn_distilled"), x, setup.card)
        return [Tile(top.title, x[0], f"Ordinary net: {top.caption}. Distilled net: {student}.")]
    if setup.defense in CATALOG:
        changed = transformation(setup.defense, setup.seed, **dict(setup.params))(x).clamp(0, 1)
        return [top, Tile("Behind it", changed[0], _seen(model, changed, setup.card))]
    score = "" if trial.scores is None else f"score {float(trial.scores[index]):.3f}"
    decision = f"{score}: {'rejected' if trial.flagged[index] else 'accepted'}"
    if setup.defense == "reconstruction":
        return [top, Tile("Its drawing", _drawing(model, x), decision)]
    params: dict[str, Any] = dict(setup.params)
    few, soft = BitDepth(params["bits"])(x), Median(params["median"])(x)
    return [
        top,
        Tile("Fewer levels", few[0], _seen(model, few, setup.card)),
        Tile("Median", soft[0], f"{_seen(model, soft, setup.card)}; {decision}"),
    ]


def _drawing(model: Model, x: Tensor) -> Tensor:
    """What a capsule network draws [C,H,W] of the class that it sees in an image [1,C,H,W]."""
    net = capsules_of(model)
    with torch.no_grad():
        parts = net.explore(x.to(devices.of(net, x)))
        drawing: Tensor = net.reconstruct(parts.capsules, parts.lengths.argmax(1))[0].cpu()
    return drawing


def _seen(model: Model, x: Tensor, card: Card) -> str:
    p = logits_of(model, x).softmax(1)[0]
    return f"seen as {card.classes[int(p.argmax())]}, {float(p.max()):.0%}"
