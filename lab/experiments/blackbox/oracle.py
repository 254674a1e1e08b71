"""Oracles: models of which an attacker sees the labels only, each question counted against a budget."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import torch
from torch import Tensor

from lab.images import encode
from lab.models.cards import resized
from lab.predict import classes_of
from lab.types import DataError, LabError, Model, ParamError

BlackBox = Callable[[Tensor], Tensor]
"""Images [N,C,H,W] in [0,1] -> labels, int64 [N]."""

ALLOWED = "LAB_ORACLES"
"""The environment variable in which an operator lists the addresses that may be asked: host or host:port, with commas
between them."""
LOOPBACK = "localhost,127.0.0.1,[::1]"
"""What may be asked where the operator says nothing."""
ANSWER = 4096
"""Bytes that are read of an answer at most."""


class BudgetError(LabError):
    """More was asked of an oracle than its budget allows."""


@dataclass
class Oracle:
    """A black box: images -> labels. What goes beyond the budget is refused before anything is asked.

    Attributes:
        ask: answers the labels.
        budget: how many images may be shown to it.
        queries: how many were.
    """

    ask: BlackBox
    budget: int
    queries: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.budget, bool) or not isinstance(self.budget, int) or self.budget < 1:
            raise ParamError(f"a budget must be a whole number of queries, at least 1, not {self.budget!r}")

    @property
    def left(self) -> int:
        """How many images it still answers."""
        return self.budget - self.queries

    def __call__(self, x: Tensor) -> Tensor:
        """Labels, int64 [N], of images [N,C,H,W] in [0,1].

        Raises:
            BudgetError: where that were more than are left; nothing is asked then.
        """
        if len(x) > self.left:
            raise BudgetError(f"{len(x):,} queries are more than the {self.left:,} left of {self.budget:,}")
        self.queries += len(x)
        return self.ask(x)


def labels_of(model: Model) -> BlackBox:
    """A model of this process as a black box: its logits stay inside."""

    def ask(x: Tensor) -> Tensor:
        return classes_of(model, resized(x, model)) if len(x) else torch.zeros(0, dtype=torch.int64)

    return ask


def allowed() -> tuple[str, ...]:
    """The addresses that may be asked: those that the operator lists, else this machine's own."""
    listed = os.environ.get(ALLOWED, LOOPBACK)
    return tuple(entry.strip().lower() for entry in listed.split(",") if entry.strip())


@dataclass(frozen=True)
class Remote:
    """An HTTP endpoint as a black box: each image is sent as a PNG by POST, the answer is {"label": a class number}.

    Only addresses that the operator allows are contacted; redirects and proxies are not followed, answers are limited
    in size and checked. Values are rounded to 8 bits on the way.

    Attributes:
        url: http:// or https://, a host, a port, a path.
        classes: how many there are; any other label is refused.
        timeout: seconds that one answer may take.
        retries: how often a question is repeated that got no answer. Each try counts where the endpoint counts.
        pause: seconds between two tries.
    """

    url: str
    classes: int
    timeout: float = 5.0
    retries: int = 2
    pause: float = 0.2

    def __post_init__(self) -> None:
        check_address(self.url)

    def __call__(self, x: Tensor) -> Tensor:
        """Labels, int64 [N].

        Raises:
            DataError: for an endpoint that cannot be reached or answers something else.
        """
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            return torch.tensor([self._label(connection, path, encode(image)) for image in x], dtype=torch.int64)
        finally:
            connection.close()

    def _label(self, connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
        for attempt in range(self.retries + 1):
            try:
                connection.request("POST", path, body, {"Content-Type": "image/png"})
                response = connection.getresponse()
                answer = response.read(ANSWER + 1)
            except (OSError, http.client.HTTPException) as e:
                connection.close()  # the next try opens it anew
                if attempt == self.retries:
                    tries = f"{attempt + 1} tries" if attempt else "one try"
                    raise DataError(
                        f"the endpoint {self.url} gave no answer in {tries} ({type(e).__name__}): is it running?"
                    ) from e
                time.sleep(self.pause)
            else:
                return self._read(response.status, answer)
        raise AssertionError  # the last try returns or raises

    def _read(self, status: int, answer: bytes) -> int:
        if status != http.client.OK:
            raise DataError(f"the endpoint {self.url} answered with status {status}, not with a label")
        try:
            answered = json.loads(answer) if len(answer) <= ANSWER else None
        except ValueError:
            answered = None
        label = answered.get("label") if isinstance(answered, Mapping) else None
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < self.classes:
            raise DataError(
                f'the endpoint {self.url} must answer {{"label": n}} with a class number from 0 to {self.classes - 1}, '
                "and did not"
            )
        return label


def check_address(url: str) -> None:
    """Raises ParamError unless the operator allows this address."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise ParamError("an oracle's address looks like http://127.0.0.1:8600/label")
    host = f"[{host}]" if ":" in host else host
    port = port or (443 if parts.scheme == "https" else 80)
    if host not in allowed() and f"{host}:{port}" not in allowed():
        raise ParamError(
            f"{host}:{port} is not among the addresses that the operator of this lab allows "
            f"({', '.join(allowed()) or 'none'}): they are listed in the environment variable {ALLOWED}"
        )
