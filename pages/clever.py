"""CLEVER: an estimate of how far the nearest adversarial picture is at least."""

import streamlit as st

from lab.ui.pages.clever import page
from lab.ui.shell.navigation import start

start()
setup = page.settle(page.choose())
if setup is None:
    st.info("Choose a picture and settings that work in the sidebar; the reason is written there.")
    st.stop()
shown = page.computed(setup)
if shown is not None:
    with st.container(key="result"):
        found = page.show(shown)
        page.details(shown, found)
