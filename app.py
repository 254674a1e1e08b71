"""The lab's entry point: streamlit run app.py."""

import streamlit as st

from lab import devices
from lab.assets import ASSETS
from lab.ui.pages.catalog import PAGES
from lab.ui.pages.overview.page import PAGE as OVERVIEW
from lab.ui.parts.shared import draw_shared
from lab.ui.shell.links import renew
from lab.ui.shell.say import attempt

st.set_page_config(
    page_title="Adversarial robustness lab", page_icon=str(ASSETS / "overview" / "icon.png"), layout="wide"
)
offered = {st.Page(p.path, title=p.title, icon=p.icon, default=p is OVERVIEW): p for p in (OVERVIEW, *PAGES)}
chosen = st.navigation(list(offered))
if offered[chosen] is not OVERVIEW:
    st.set_page_config(page_title=f"{chosen.title} · Adversarial robustness lab")
renew(offered[chosen].name)
if attempt(devices.pick) is None:  # LAB_DEVICE names none that is here
    st.stop()
if offered[chosen].shared:
    draw_shared()
chosen.run()
