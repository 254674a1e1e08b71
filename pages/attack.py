"""Attack one picture on one model and look at everything that happens."""

import streamlit as st

from lab.ui import attack_page as page
from lab.ui.scenario import sidebar
from lab.ui.start import start

start()
scenario = page.run_button(sidebar())
if scenario is None:
    st.info("Choose a picture and settings that work in the sidebar; the reason is written there.")
    st.stop()
shown = page.compute(scenario)
if shown is None:
    page.previous()
else:
    with st.container(key="result"):
        page.verdict(shown)
        page.pictures(shown)
        page.details(shown)
