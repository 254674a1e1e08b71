"""A running app and a real Chromium that visits it."""

from __future__ import annotations

import base64
import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parents[2]
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PATHS = ("attack", "compare", "representations", "transfer", "blackbox", "clever", "robustness", "defenses", "capsules")
"""Paths of all pages but the first."""
REST = "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"


def chromium() -> str | None:
    """Where Chromium is, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def served() -> Iterator[str]:
    """Starts the app on a free port, gives its address once it answers, and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    app = subprocess.Popen(
        [*command, "--server.port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_healthy(url, app)
        yield url
    finally:
        app.terminate()
        app.wait(20)


def _wait_healthy(url: str, app: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and app.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError("the app did not start")


class Visitor:
    """One person's browser: a context of its own, and the errors that its pages reported."""

    def __init__(self, browser: Browser, server: str, width: int = 1400) -> None:
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": 1000}, permissions=["camera"], accept_downloads=True
        )
        self.page: Page = self.context.new_page()
        self.server = server
        self.errors: list[str] = []
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("requestfailed", lambda r: self.errors.append(f"failed: {r.url}"))
        self.page.on("response", lambda r: self._answer(r.status, r.url))

    def _answer(self, status: int, url: str) -> None:
        if status >= 400:
            self.errors.append(f"{status}: {url}")

    def open(self, path: str) -> Page:
        self.page.goto(self.server + path)
        self.page.wait_for_selector("[data-testid=stMain] :is(h3, h4)", timeout=120_000)
        self.rest()
        return self.page

    def rest(self) -> None:
        """Waits until the script and its jobs are done."""
        self.page.wait_for_selector(REST, timeout=120_000)
        self.page.wait_for_function(
            f"""() => document.querySelector({REST!r})
                && !document.querySelector('[class*=st-key-working_]')
                && !document.querySelector('[data-testid=stSkeleton]')
                && !document.querySelector('[data-stale=true]')""",
            timeout=180_000,
        )
        assert not self.page.locator("[data-testid=stException]").count(), self.page.inner_text("body")

    def verdict(self) -> str:
        return self.page.locator(".st-key-result h3").inner_text()


def pixels(page: Page, alt: str) -> np.ndarray:
    """What the browser fetched for a picture, and that it is shown pixel for pixel."""
    shown = page.locator(f"img[alt^='{alt}']").first
    source = shown.evaluate("i => i.src")
    if source.startswith("data:"):  # in the viewer, which fills the width: all pictures have the same
        data = base64.b64decode(source.partition(",")[2])
        widths = page.locator(".viewer .tiles img").evaluate_all("all => all.map(i => i.getBoundingClientRect().width)")
        assert max(widths) - min(widths) < 1
    else:
        assert shown.evaluate("i => i.naturalWidth === Math.round(i.getBoundingClientRect().width)")
        data = page.request.get(source).body()
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))
