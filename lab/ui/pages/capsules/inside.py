"""The tab with the primary capsules, and the routing to be stepped."""

from __future__ import annotations

import streamlit as st
import torch

from lab.experiments.capsules.look import Look, lengths_by_iteration, primary_maps
from lab.figures import capsules as figures
from lab.ui.pages.capsules.setup import NAME, Setup
from lab.ui.parts.show import show_chart, show_image
from lab.ui.parts.tiles import tiles
from lab.ui.shell.prose import prose


def inside(setup: Setup, result: Look) -> None:
    """The parts that the network finds, and to which classes they are given."""
    types = _parts(setup, result)
    st.markdown("**Routing by agreement**, iteration by iteration")
    shares = torch.stack(result.inside.routing)
    last = 100 * shares[-1]
    values = {
        "even": f"{100 / shares.shape[3]:.0f}",
        "clean": f"{float(last[0, :, result.seen[0]].mean()):.1f}",
        "attacked": f"{float(last[1, :, result.seen[1]].mean()):.1f}",
        "top_clean": f"{float(last[0].max()):.0f}",
        "top_attacked": f"{float(last[1].max()):.0f}",
    }
    show_chart(
        figures.routing(shares, lengths_by_iteration(result.inside), types, result.classes),
        "routing",
        prose(NAME, "The routing", **values),
        alt="Routing coefficients by iteration, clean above attacked, with the class capsules' lengths below",
    )


def _parts(setup: Setup, result: Look) -> int:
    """The maps of the primary capsules; how many types there are."""
    clean, attacked = primary_maps(setup.net, result.inside)
    types, tall, wide = clean.shape
    st.markdown(f"**Primary capsules**: {types} types of part, each looked for at {tall} × {wide} places")
    largest = float(torch.stack([clean, attacked]).max())
    change = float((attacked - clean).abs().max()) or 1.0
    pictures = (
        ("Clean", figures.parts(clean, limit=largest), f"length from 0 (dark) to {largest:.2f} (yellow)"),
        ("Attacked", figures.parts(attacked, limit=largest), "on the same scale"),
        (
            "Change",
            figures.parts(attacked - clean, limit=change, signed=True),
            f"blue rose, red fell, up to {change:.2f}",
        ),
    )
    width = int(pictures[0][1].shape[-1])
    for place, (title, picture, caption) in zip(tiles(3, width), pictures, strict=True):
        with place:
            st.markdown(f"**{title}**")
            show_image(picture, f"{title}: lengths of the primary capsules, {caption}")
            st.caption(caption.capitalize() + ".")
    order = "types 1 to 4 above and 5 to 8 below" if types == 8 else "row by row"
    st.caption(f"One small map for each type, {order}; a long capsule says that its part is there.")
    return int(types)
