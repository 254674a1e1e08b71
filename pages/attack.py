"""Attack one picture on one model and look at everything that happens."""

import streamlit as st

from lab.ui.pages.attack import page
from lab.ui.parts.result import verdict
from lab.ui.parts.scenario import sidebar
from lab.ui.shell.navigation import start

start()
scenario = page.settle(sidebar())
if scenario is None:
    st.info("Choose a picture and settings that work in the sidebar; the reason is written there.")
    st.stop()
shown = page.attacked(scenario)
if shown is not None:
    with st.container(key="result"):
        verdict(shown)
        page.pictures(shown)
        page.details(shown)
