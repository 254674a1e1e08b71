"""How large everything is, and the styles that all pages share."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
LARGER = 1.3
"""How many times larger type is for a projector."""
LARGE = f"html {{ font-size: {round(16 * LARGER)}px; }} .st-key-result h3 {{ font-size: 1.4rem; }}"
"""Larger type, but for the headlines, which are large already."""
KEY = "large"
"""The toggle's key, and its parameter in links."""


def draw_style() -> None:
    """Gives the page its style, with larger type where that is asked for."""
    larger = LARGE if is_large() else ""
    kind = st.context.theme.type or "light"
    side = st.get_option(f"theme.{kind}.secondaryBackgroundColor") or "Canvas"
    st.html(f"<style>:root {{ --lab-side: {side}; }} {STYLE}{larger}</style>")


def draw_size() -> None:
    """Draws the toggle for larger type below everything else in the sidebar."""
    with st.sidebar:
        st.toggle(
            "Large type",
            key=KEY,
            bind="query-params",
            persist_state="session",
            help="For a projector: text, pictures' captions and charts are a third larger.",
        )


def is_large() -> bool:
    """Whether type is to be larger."""
    return bool(st.session_state.get(KEY, st.query_params.get(KEY) == "true"))
