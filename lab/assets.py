"""Where the bundled files lie: in the repository beside the package, in an installation inside of it."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_app"

APP = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
"""The folder of app.py, with pages/, assets/ and .streamlit/ beside it."""
ASSETS = APP / "assets"
