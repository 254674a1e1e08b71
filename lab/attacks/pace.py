"""How far an attack is: told at every iterate, and within one that asks much of the model, while it is at work."""

from __future__ import annotations

from lab.progress import Progress

NEARLY = 0.9
"""The share of an iteration, at most, that is taken to be done before its iterate is there."""


class Pace:
    """Tells a stretch of progress of one attack, and stops the attack from within where it is to stop.

    How much of an iteration is done follows from how often the iteration before asked the model.

    Args:
        progress: who hears of it.
        steps: how many iterations are planned at most; None where that is not known.
    """

    def __init__(self, progress: Progress, steps: int | None) -> None:
        self.progress, self.steps = progress, steps
        self.step, self.asked, self.usual = 0, 0, 0

    def ask(self) -> None:
        """The attack asks the model once more.

        Raises:
            Cancelled: where it is to stop.
        """
        self.asked += 1
        if self.asked > 1:
            self._tell(min(NEARLY, (self.asked - 1) / max(1, self.usual)) if self.usual > 1 else 0.0)

    def reach(self, step: int) -> None:
        """The attack has reached its iterate of that number.

        Raises:
            Cancelled: where it is to stop.
        """
        self.step, self.usual, self.asked = step, self.asked, 0
        self._tell(0.0)

    def _tell(self, within: float) -> None:
        what = f"iteration {self.step:,}"
        if self.steps is None:
            self.progress.tell(0.0, what)
        else:
            of = f" of {self.steps:,}" if self.step <= self.steps else ""
            self.progress.tell((self.step + within) / (self.steps + 1), what + of)
