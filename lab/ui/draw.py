"""What is drawn at every run: the navigation, what pages have in common, and the page that is asked for."""

from __future__ import annotations

import streamlit as st

from lab import devices
from lab.assets import ASSETS
from lab.ui.pages.catalog import PAGES
from lab.ui.pages.overview.page import PAGE as OVERVIEW
from lab.ui.parts.shared import draw_preview, draw_shared
from lab.ui.shell.links import renew
from lab.ui.shell.look import draw_size
from lab.ui.shell.say import attempt
from lab.ui.shell.server import TITLE


def draw() -> None:
    """Draws the page that the browser asks for."""
    st.set_page_config(page_title=TITLE, page_icon=str(ASSETS / "overview" / "icon.png"), layout="wide")
    offered = {st.Page(p.path, title=p.title, icon=p.icon, default=p is OVERVIEW): p for p in (OVERVIEW, *PAGES)}
    chosen = st.navigation(list(offered))
    if offered[chosen] is not OVERVIEW:
        st.set_page_config(page_title=f"{chosen.title} · {TITLE}")
    renew(offered[chosen].name)
    if attempt(devices.pick) is None:  # LAB_DEVICE names none that is here
        st.stop()
    if offered[chosen].shared:
        draw_shared(offered[chosen].attacks)
    chosen.run()
    draw_preview()
    draw_size()
