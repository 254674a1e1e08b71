"""Images made to fool one model, shown to models that were never touched."""

import streamlit as st

from lab.ui.pages.transfer import page
from lab.ui.shell.navigation import start

start()
setup = page.settle(page.choose())
if setup is None:
    st.info("Choose settings that work in the sidebar; the reason is written there.")
    st.stop()
shown = page.computed(setup)
if shown is not None:
    with st.container(key="result"):
        page.show(shown)
        page.details(shown)
