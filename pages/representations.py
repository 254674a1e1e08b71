"""What the network sees, layer by layer, in the clean and in the attacked picture."""

import streamlit as st

from lab.ui.pages.representations import page
from lab.ui.shell.navigation import start

start()
scenario = page.settle(page.choose())
if scenario is None:
    st.info("Choose a picture and settings that work in the sidebar; the reason is written there.")
    st.stop()
seen = page.attacked(scenario)
if seen is not None:
    with st.container(key="result"):
        page.header(seen)
        page.details(seen)
