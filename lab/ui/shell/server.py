"""The server that the pages run on: ready before it answers, and telling the browser at once where it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route

from lab.assets import APP
from lab.ui.shell import shelf

TITLE = "Adversarial robustness lab"
ROOT_IS_HERE = """<script>
const root = location.origin + location.pathname.replace(/[^/]*$/, "");
window.__streamlit = {BACKEND_BASE_URL: root, HOST_CONFIG_BASE_URL: root, MAIN_PAGE_BASE_URL: root};
</script>"""
"""Without this the browser looks for the server under each page's own address first, and reports that as an error."""


def ready(draws: str) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """What makes the lab ready before the server answers, so that the first visitor need not wait for it.

    Args:
        draws: name of the module that draws what the browser asks for; it is imported with all that it needs.
    """

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        import_module(draws)
        shelf.warm()
        yield

    return lifespan


@cache
def routes() -> list[BaseRoute]:
    """What answers at the addresses of the pages: Streamlit's own first file, with the title, and where the root is."""
    text = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    text = text.replace("<title>Streamlit</title>", f"<title>{TITLE}</title>").replace(
        "<head>", "<head>" + ROOT_IS_HERE
    )

    async def first(request: Request) -> HTMLResponse:
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    pages = [page.stem for page in (APP / "pages").glob("*.py")]
    return [Route("/", first), *(Route(f"/{page}", first) for page in pages)]
