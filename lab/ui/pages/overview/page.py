"""The Overview page: a stored result, the ways on, and what is here."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import streamlit as st
from PIL import Image

from lab import attacks, data, devices, models
from lab.assets import ASSETS
from lab.data.catalog import TASKS
from lab.data.photographs import photographs
from lab.images import from_picture
from lab.models.cards import REFERENCE_EPS, Card
from lab.models.catalog import is_here
from lab.types import Access
from lab.ui.pages.catalog import PAGES
from lab.ui.parts.tiles import Tile
from lab.ui.parts.viewer import show_pictures
from lab.ui.shell.links import link_to
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose

NAME = "overview"
ABREAST = 3
"""Cards side by side."""


@cache
def stored() -> dict[str, Any]:
    """The stored result: the manifest of a run of scripts/build_overview.py."""
    record: dict[str, Any] = json.loads((ASSETS / "overview" / "result.json").read_text(encoding="utf-8"))
    return record


def example() -> None:
    """A real photograph fooled on a real model, as computed by the lab."""
    record = stored()
    result = record["result"]
    clean, attacked = result["clean"], result["attacked"]
    size = f"{result['distance']['linf'] * 255:.3g}/255"
    st.markdown(
        f"### {record['model_name']} sees {clean['name']} ({clean['confidence']:.0%}) in the clean picture and "
        f"{attacked['name']} ({attacked['confidence']:.0%}) in the adversarial one; no pixel differs by more than "
        f"{size}."
    )
    captions = {
        "clean": ("Clean", f"{clean['name']}, {clean['confidence']:.0%}"),
        "attacked": ("Adversarial", f"{attacked['name']}, {attacked['confidence']:.0%}"),
        "perturbation": ("Perturbation", f"amplified {record['amplified']:.0f} times"),
    }
    shown = []
    for file, (title, caption) in captions.items():
        with Image.open(ASSETS / "overview" / f"{file}.png") as picture:
            shown.append(Tile(title, from_picture(picture)[0], caption))
    show_pictures(shown, "example", pair=True)
    attack, steps = attacks.CATALOG[record["attack"]].name, record["params"]["steps"]
    told = prose(NAME, "The example", attack=attack, steps=steps, command=record["command"])
    st.markdown(f":small[{told}]")


def ways_on() -> None:
    """A card for each page but this."""
    for first in range(0, len(PAGES), ABREAST):
        for column, page in zip(st.columns(ABREAST), PAGES[first : first + ABREAST], strict=False):
            with column.container(border=True, height="stretch"):
                link_to(page.path, f"**{page.title}**", icon=page.icon)
                st.markdown(page.about)


def _attacked(card: Card) -> str:
    worst = card.under_attack(REFERENCE_EPS.get(card.task, 0))
    return f"{worst.accuracy:.1%} at {worst.eps:g}" if worst else ""


def inventory() -> None:
    """Which models, data and device are here."""
    st.markdown("**Models**")
    rows = []
    for spec in models.CATALOG.values():
        card = spec.card()
        rows.append(
            {
                "model": card.name,
                "classes": TASKS[card.task],
                "here": "yes" if is_here(card.key) else "at first use",
                "accuracy": f"{card.accuracy:.1%}" if card.accuracy is not None else "not measured",
                "under attack": _attacked(card),
            }
        )
    st.dataframe(rows, hide_index=True, width="stretch", height=320, key="models")
    st.caption(prose(NAME, "The models"))
    pictures, attack_names, device = st.columns([2, 2, 1], gap="large")
    with pictures:
        st.markdown("**Pictures**")
        st.markdown(f"{len(photographs())} photographs; your own by upload or camera.")
        for dataset in data.CATALOG.values():
            if dataset.official:
                st.markdown(f"{dataset.name}: {dataset.summary}")
    with attack_names:
        st.markdown("**Attacks**")
        for access in Access:
            names = [spec.name for spec in attacks.CATALOG.values() if spec.access is access]
            if names:
                name, sees = access.value.split(":")
                st.markdown(f"{name.capitalize()} ({sees.strip()}): {', '.join(names)}")
    with device:
        st.markdown("**Device**")
        st.markdown(devices.describe())


def _body() -> None:
    st.title("Adversarial robustness lab")
    st.markdown(prose(NAME, "The lab"))
    example()
    ways_on()
    inventory()


PAGE: Page[Any, Any] = Page(
    name=NAME,
    title="Overview",
    icon=":material/home:",
    body=_body,
)
