"""How long work tells how far it is, and learns that it is to stop: one protocol for every long function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

Hear = Callable[[float, tuple[str, ...]], None]
"""Called with the share that is done, 0 to 1, and what is at work, the outermost first."""
See = Callable[[object], None]
"""Called with what there is to see of the work while it goes on; it is the work's own, to be read only."""


class Cancelled(Exception):
    """Raised by `Progress.tell` where the work is to stop."""


@dataclass(frozen=True)
class Progress:
    """A stretch of some work, and who hears of it.

    A function that takes long takes a `Progress`, tells it how far it is, and hands parts of it to what it calls.
    Where the work is to stop, `tell` raises `Cancelled`. A function that has something to show for its work by then
    catches it, marks what it has as incomplete, and returns that; its caller comes to know at its own next `tell`.

    Attributes:
        hear: who is told.
        stop: asked at every `tell` whether the work is to stop.
        start: the share of the whole that is done where this stretch begins.
        end: the share where it ends.
        what: what is at work, the outermost first.
        see: who is shown what there is to see of it; None where nobody looks.
    """

    hear: Hear = field(default=lambda share, what: None, repr=False)
    stop: Callable[[], bool] = field(default=lambda: False, repr=False)
    start: float = 0.0
    end: float = 1.0
    what: tuple[str, ...] = ()
    see: See | None = field(default=None, repr=False)

    def tell(self, share: float, *what: str) -> None:
        """Says which share of this stretch is done, and what comes next.

        Args:
            share: 0 to 1.
            what: names of what is at work, inside of what the stretch itself is called.

        Raises:
            Cancelled: where the work is to stop.
        """
        self.hear(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), (*self.what, *what))
        self.check()

    def part(self, start: float, end: float, *what: str) -> Progress:
        """The stretch from one share of this one to another, for a piece of the work of the name `what`."""
        length = self.end - self.start
        return replace(self, start=self.start + start * length, end=self.start + end * length, what=(*self.what, *what))

    def show(self, sight: object) -> None:
        """Shows what there is to see of the work by now, where somebody looks."""
        if self.see is not None:
            self.see(sight)

    @property
    def cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self.stop()

    def check(self) -> None:
        """Raises Cancelled where the work is to stop; tells nothing."""
        if self.stop():
            raise Cancelled


SILENT = Progress()
"""Tells nobody and never stops."""
