"""Fixtures of the browser tests: Chromium, a running app, and a visitor who must see no error."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.browser import ARGS, Visitor, chromium, served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        missing = "Chromium is missing: install it (Debian: apt install chromium) to run the browser tests"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an app that nobody has visited yet."""
    with served() as url:
        yield url


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Visitor]:
    visitor = Visitor(browser, server)
    yield visitor
    visitor.context.close()
    assert not visitor.errors
