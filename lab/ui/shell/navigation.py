"""What every page does first: through app.py, and with a history that leads back."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from lab.ui.shell.look import draw_style

ONE_ENTRY_A_PAGE = """<script>
if (!window.labHistory) {
  window.labHistory = true;
  const push = history.pushState.bind(history);
  let before = null;
  history.pushState = (state, title, url) => {
    if (new URL(url ?? "", location.href).pathname === location.pathname) {
      const here = location.href;
      before ??= here;
      setTimeout(() => (before = before === here ? null : before), 1000);
      history.replaceState(state, title, url);
    } else {
      if (before) history.replaceState(state, title, before);
      before = null;
      push(state, title, url);
    }
  };
}
</script>"""
"""On the way from page to page Streamlit first adds an entry to the browser's history in which the page that is left
has lost its settings; Back then takes two presses, and the settings are gone. With this there is one entry a page, and
it keeps the settings."""


def start() -> None:
    """Makes sure that app.py has set up the navigation, and that the browser's Back leads to the page before."""
    _always_through_app()
    draw_style()
    st.html(ONE_ENTRY_A_PAGE, unsafe_allow_javascript=True)


def _always_through_app() -> None:
    """Runs the script again through app.py where Streamlit ran a page without it.

    A folder named pages/ makes Streamlit run a page without app.py when the first visit to a new server is a link
    straight to that page; once `st.navigation` has run, this is off for good. Here the first visit switches it off.
    """
    if PagesManager.uses_pages_directory and "_started" not in st.session_state:
        st.session_state["_started"] = True
        PagesManager.uses_pages_directory = False
        st.rerun()
