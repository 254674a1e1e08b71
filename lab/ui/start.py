"""What every page does first."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager


def start() -> None:
    """Makes sure that app.py has set up the navigation.

    A folder named pages/ makes Streamlit run a page without app.py when the first visit to a new server is a link
    straight to that page; once `st.navigation` has run, this is off for good. Here the first visit switches it off.
    """
    if PagesManager.uses_pages_directory and "_started" not in st.session_state:
        st.session_state["_started"] = True
        PagesManager.uses_pages_directory = False
        st.rerun()
