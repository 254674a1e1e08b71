"""Measures what each page shows first, for assets/answers.

    python scripts/build_answers.py

Every page is opened as a first visitor would and left alone until it is whole; the answers that it asked for are kept.
"""

from __future__ import annotations

import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

from lab.ui.pages.catalog import PAGES
from lab.ui.shell import shelf

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 1800.0
"""Seconds that a page may take."""


def main() -> None:
    """Opens every page; prints what it took."""
    answers = {}
    for page in PAGES:
        began = time.monotonic()
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE).run()
        at.switch_page(page.path).run()
        while at.session_state["_jobs"]:
            time.sleep(1)
            at.run()
        asked = at.session_state["_asked_of"]
        found = {name: (value, asked[name]) for name, value in at.session_state["_results"].items() if name in asked}
        answers |= found
        print(f"{page.name}: {', '.join(slot for slot, _ in found)} in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
    print(f"{shelf.keep(answers):,} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
