"""The lab's entry point: streamlit run app.py."""

import streamlit as st

from lab.ui.start import PAGES

st.set_page_config(page_title="Adversarial robustness lab", page_icon="assets/overview/icon.png", layout="wide")
st.navigation(
    [st.Page(p.path, title=p.title, icon=p.icon, default=n == 0) for n, p in enumerate(PAGES)],
).run()
