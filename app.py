"""The lab's entry point: streamlit run app.py."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from lab.ui.shell.server import ready, routes

app = st.App(__file__, lifespan=ready("lab.ui.draw"), routes=routes())
if get_script_run_ctx(suppress_warning=True) is not None:  # imported once for the app above, run for each visitor
    from lab.ui.draw import draw

    draw()
