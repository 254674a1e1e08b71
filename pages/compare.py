"""Two attacks on one picture and one model, side by side."""

import streamlit as st

from lab.ui.pages.compare import page
from lab.ui.shell.navigation import start

start()
pair = page.settle(page.choose())
if pair is None:
    st.info("Choose a picture and settings that work; the reason is written beside them.")
    st.stop()
both = page.attacked(pair)
if both is not None:
    with st.container(key="result"):
        page.show(both)
