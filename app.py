"""The lab's entry point: streamlit run app.py."""

import streamlit as st

from lab.assets import ASSETS
from lab.ui.parts.scenario import draw_shared
from lab.ui.shell.navigation import PAGES

st.set_page_config(
    page_title="Adversarial robustness lab", page_icon=str(ASSETS / "overview" / "icon.png"), layout="wide"
)
offered = {st.Page(p.path, title=p.title, icon=p.icon, default=p is PAGES[0]): p for p in PAGES}
chosen = st.navigation(list(offered))
if offered[chosen].attacks:
    draw_shared()
chosen.run()
