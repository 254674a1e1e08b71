"""Where the bundled files lie."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"
