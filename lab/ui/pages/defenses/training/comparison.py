"""What an attack has to do to a standard and to a robust net, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import streamlit as st
import torch
from torch import Tensor, nn

from lab import devices
from lab.attacks import attack
from lab.data import load_data
from lab.data.catalog import of_task
from lab.data.official import CLASSES
from lab.figures import training as figures
from lab.figures.attack import scaled
from lab.predict import logits_of
from lab.progress import Progress
from lab.training.rules import perturb
from lab.training.session import Plan, TrainingRun
from lab.ui.pages.defenses.training.setup import ASK, NAME
from lab.ui.parts.show import show_image
from lab.ui.parts.tiles import Tile, show_tiles
from lab.ui.shell import cache
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose

STEPS = 40
"""How many steps the attack on the one image takes."""
STARTS = 16
"""Random starts of which the mean is shown."""


@dataclass(frozen=True)
class Side:
    """One of two nets under the same attack.

    Attributes:
        name: of the net.
        clean: what it sees in the clean image.
        attacked: what it sees in the attacked one.
        x: the attacked image [C,H,W].
        delta: its change [C,H,W].
        mean: the mean change over several random starts [C,H,W].
        filters: of its first layer, as a picture.
    """

    name: str
    clean: str
    attacked: str
    x: Tensor
    delta: Tensor
    mean: Tensor
    filters: Tensor


def comparison(plan: Plan, run: TrainingRun | None) -> None:
    """The perturbations, images and first-layer filters of a standard net and of another, side by side."""
    st.divider()
    key, net, size = of_task(plan.task).key, None if run is None else run.net, scaled(plan.eps, "linf")
    st.markdown(
        f"#### What an attack has to do: a standard net and {'the one trained here' if net else 'a robust one'}"
    )
    images = load_data(key)
    last = len(images) - 1
    index = ASK.whole(f"{key}_image", f"Image number, 0 to {last:,}", 0, last, 0, width=260)
    x, y = images.x[index : index + 1], images.y[index : index + 1]

    def work(progress: Progress) -> Iterator[tuple[Side, ...]]:
        standard, robust = (cache.model(f"{plan.task}/{name}", progress) for name in ("cnn", "cnn_pgd_at"))
        other = (robust.card.name, robust) if net is None else ("The net trained here", net)
        nets = ((standard.card.name, standard), other)
        yield tuple(
            _side(name, each, x, y, plan, progress.part(k / 2, (k + 1) / 2, name))
            for k, (name, each) in enumerate(nets)
        )

    epochs = len(run.epochs) if run and net else 0
    asked = (plan if net else plan.task, epochs, index, plan.eps, plan.seed)
    sides = answer("nets", asked, "Attacking both nets", work)
    if sides is None:
        return
    columns = [[Tile("Clean image", x[0], f"Labelled {CLASSES[plan.task][int(y)]}")]]
    for side, kind in zip(sides, ("Standard", "Trained here" if net else "Robust"), strict=True):
        columns.append(
            [
                Tile(f"{kind}: attacked", side.x, f"Seen as {side.attacked}; clean as {side.clean}"),
                Tile(f"{kind}: the change", figures.signed(side.delta, plan.eps), "One attack"),
                Tile(f"{kind}: mean change", figures.signed(side.mean, plan.eps), f"Over {STARTS} random starts"),
            ]
        )
    show_tiles(columns)
    st.markdown(_told(sides, [_darkened(side.mean, x[0], plan.eps) for side in sides]))
    st.caption(prose(NAME, "The perturbations", steps=STEPS, size=size))
    st.markdown("**First-layer filters**")
    with st.container(horizontal=True, gap="large"):
        for side in sides:
            with st.container(width=280):
                show_image(side.filters, f"First-layer filters of {side.name}")
                st.caption(side.name)
    st.caption(prose(NAME, "The filters"))


def _side(name: str, net: nn.Module, x: Tensor, y: Tensor, plan: Plan, progress: Progress) -> Side:
    result = attack("pgd", net, x, y, eps=plan.eps, steps=STEPS, seed=plan.seed, progress=progress)
    progress.check()
    clean, attacked = (
        f"{CLASSES[plan.task][int(p.argmax())]}, {p.max():.0%}"
        for p in logits_of(net, torch.cat([x, result.x])).softmax(1)
    )
    device, rng = devices.of(net, x), torch.Generator().manual_seed(plan.seed)
    many = x.expand(STARTS, -1, -1, -1).to(device), y.expand(STARTS).to(device)
    z = perturb(net, *many, rng, eps=plan.eps, alpha=plan.eps / 10, steps=STEPS)
    return Side(name, clean, attacked, result.x[0], (result.x - x)[0], z.mean(0).cpu() - x[0], figures.filters(net))


def _told(sides: Sequence[Side], darker: Sequence[float]) -> str:
    """How much of the object's brightness the attack takes from each net's image, and which more."""
    shares = [f"**{each:.0%}** ({side.name})" for each, side in zip(darker, sides, strict=True)]
    first, second = darker
    told = (
        f"On average over the starts, the attack darkens the object's own bright pixels by {' and '.join(shares)} "
        "of the largest change allowed"
    )
    if round(100 * first) == round(100 * second):
        return f"{told}: as much in both images."
    return f"{told}: more in the image shown to {sides[0 if first > second else 1].name}."


def _darkened(delta: Tensor, x: Tensor, eps: float) -> float:
    """The mean change [C,H,W] of an image's bright pixels as a share of -eps."""
    return float(-delta[x > 0.5].mean() / eps)
