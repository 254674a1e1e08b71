"""An HTTP endpoint that answers labels only: a black box to try attacks on."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab.images import decode
from lab.models.cards import Classifier
from lab.predict import classes_of
from lab.types import ImageError

LARGEST = 5 * 2**20
"""Bytes of a picture that are taken at most."""
PATIENCE = 10.0
"""Seconds that a client may take over its request."""


def endpoint(model: Classifier, host: str = "127.0.0.1", port: int = 8600) -> ThreadingHTTPServer:
    """A server, not yet running, that takes a picture by POST and answers {"label": number, "class": name}.

    GET tells the model's name, classes and image shape. It says nothing else of the model.

    Args:
        model: the black box.
        host: the address to listen on; other machines reach it only where this is not loopback.
        port: 0 for any that is free.

    Raises:
        OSError: where the address cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, timeout, protocol_version = "lab", "", PATIENCE, "HTTP/1.1"

        def do_GET(self) -> None:
            card = model.card
            self._answer(HTTPStatus.OK, {"model": card.name, "classes": card.classes, "shape": card.input_shape})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or not 0 < int(length) <= LARGEST:
                self.close_connection = True  # what it sends is not read
                self._refuse(f"send one picture of at most {LARGEST // 2**20} MB, with its Content-Length")
                return
            try:
                picture = decode(self.rfile.read(int(length)))
            except ImageError as e:
                self._refuse(str(e))
                return
            label = int(classes_of(model, model.card.fit(picture))[0])
            self._answer(HTTPStatus.OK, {"label": label, "class": model.card.classes[label]})

        def _refuse(self, reason: str) -> None:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": reason})

        def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing of single requests."""

    return ThreadingHTTPServer((host, port), Handler)
