"""Pieces of a page that live in the browser: a style and a script beside this file, in one shadow root each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


def component(name: str) -> Any:
    """What draws the component of this name: the style NAME.css, and NAME.js behind make.js."""
    script = "".join((HERE / file).read_text(encoding="utf-8") for file in ("make.js", f"{name}.js"))
    return st.components.v2.component(f"lab_{name}", css=(HERE / f"{name}.css").read_text(encoding="utf-8"), js=script)
