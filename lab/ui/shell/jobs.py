"""Long work off the page's thread: one worker per device and lane, progress, cancel, a session's newest request wins.

A job computes in the worker and never touches Streamlit. The page asks for its answer at every run; while the job is
at work, a fragment draws its progress and runs the page once more when it ends.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeVar, cast

import streamlit as st

from lab import devices
from lab.progress import Cancelled, Progress
from lab.types import LabError
from lab.ui.shell.say import say
from lab.ui.shell.words import name_of

T = TypeVar("T")
KEPT = 16
"""Results that a session keeps; the oldest go first."""
AT_ONCE = 0.7
"""Seconds that a page waits for a result before it shows progress instead."""
UNWATCHED = 180.0
"""Seconds after which a job that no page looks at any more (a closed tab) is stopped."""


@dataclass
class Job:
    """One piece of work: what the worker tells of it, and whether it is to stop.

    `partial` is what there is so far; it is what is left when the job is stopped.
    """

    label: str
    key: Hashable
    lane: str = ""
    share: float = 0.0
    message: str = "waiting for its turn"
    started: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)
    stop: Event = field(default_factory=Event)
    future: Future[Any] | None = None
    partial: Any = None

    def cancelled(self) -> bool:
        """Whether the job is to end now: stopped by the person, replaced, or watched by nobody."""
        return self.stop.is_set() or time.monotonic() - self.seen > UNWATCHED

    @property
    def progress(self) -> Progress:
        """What the work tells its progress to, and learns from that it is to stop."""

        def hear(share: float, what: tuple[str, ...]) -> None:
            self.share, self.message = share, ", ".join(dict.fromkeys(map(name_of, what)))

        return Progress(hear, self.cancelled)

    def run(self, work: Callable[[Progress], Iterator[T]]) -> T:
        """Does the work, in the worker; what it yields last is the answer.

        Raises:
            Cancelled: where it was stopped.
        LabError: where the device has failed, too.
        """
        try:
            for so_far in work(self.progress):
                self.partial = so_far
            self.progress.check()  # work that was stopped may end with what it has
            return cast("T", self.partial)
        except RuntimeError as e:
            told = devices.trouble(e)
            if told is None:
                raise
            raise told from e
        finally:
            devices.free()

    def wait(self, seconds: float) -> bool:
        """Whether the job has ended, after waiting for it for at most that long."""
        if self.future is None:
            return False
        try:
            self.future.exception(seconds)
        except NotYet:
            return False
        return True

    @property
    def done(self) -> float:
        """The share that is done, 0 to 1."""
        return min(1.0, self.share)

    @property
    def left(self) -> float | None:
        """Seconds still to go, as the progress so far suggests."""
        spent = time.monotonic() - self.started
        return spent * (1 - self.done) / self.done if self.done > 0.02 else None


@st.cache_resource
def _worker(device: str, lane: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"lab-{device}-{lane}")


def _results() -> OrderedDict[Hashable, Any]:
    return cast("OrderedDict[Hashable, Any]", st.session_state.setdefault("_results", OrderedDict()))


def _jobs() -> dict[str, Job]:
    return cast("dict[str, Job]", st.session_state.setdefault("_jobs", {}))


def answer(
    slot: str,
    key: Hashable,
    label: str,
    work: Callable[[Progress], Iterator[T]],
    live: Callable[[T], None] | None = None,
    lane: str = "",
) -> T | None:
    """The last thing that `work` yields for this key: at once where the session has it, else None while it is at work.

    Shows progress with a cancel button, or why there is no answer. Of work that was stopped, the answer is what it had
    yielded by then.

    Args:
        slot: which place of the page asks.
        key: what the answer depends on.
        label: what is being done, for a person.
        work: yields what it has so far, at last the answer; runs in the worker and must not use Streamlit.
        live: draws what there is so far while the work goes on.
        lane: of the work; each has a worker of its own, so that what takes minutes holds up nothing that takes seconds.
    """
    results, jobs = _results(), _jobs()
    if (slot, key) in results:
        results.move_to_end((slot, key))
        return cast(T, results[slot, key])
    job = jobs.get(slot)
    if job is None or job.key != key:
        for name, other in list(jobs.items()):
            if other.lane == lane:  # one worker: what was asked for before must not hold up what is asked for now
                other.stop.set()
                del jobs[name]
        job = jobs[slot] = Job(label, key, lane)
        job.future = _worker(devices.pick().type, lane).submit(job.run, work)
    job.seen = time.monotonic()
    if not job.wait(AT_ONCE):
        _progress(slot, live)
        return None
    return cast("T | None", _take(slot, job))


def forget(slot: str, key: Hashable) -> None:
    """Drops the job and the result of a slot and key, so that the next `answer` computes anew."""
    job = _jobs().get(slot)
    if job is not None and job.key == key:
        job.stop.set()
        del _jobs()[slot]
    _results().pop((slot, key), None)


def _take(slot: str, job: Job) -> Any:
    future = cast("Future[Any]", job.future)
    error = Cancelled() if future.cancelled() else future.exception()
    if isinstance(error, Cancelled):
        st.info(f"Stopped: {job.label[0].lower()}{job.label[1:]}.", icon=":material/stop_circle:")
        if st.button("Run it again", key=f"again_{slot}"):
            forget(slot, job.key)
            st.rerun()
        return job.partial
    if isinstance(error, LabError):
        say(error)
        return job.partial
    del _jobs()[slot]
    if error is not None:
        raise error
    results = _results()
    results[slot, job.key] = value = future.result()
    while len(results) > KEPT:
        results.popitem(last=False)
    return value


def _progress(slot: str, live: Callable[[Any], None] | None) -> None:
    """Progress and cancel, redrawn until the job ends; then the page runs once more."""

    @st.fragment(run_every=1.0 if live else 0.25)
    def draw() -> None:
        job = _jobs().get(slot)
        if job is None or job.wait(0):
            st.rerun()
            return
        job.seen = time.monotonic()
        bar, button = st.columns([5, 1], vertical_alignment="bottom")
        text = " · ".join(part for part in (job.label, job.message, _remaining(job.left)) if part)
        bar.progress(job.done, text=text)
        if button.button("Cancel", key=f"cancel_{slot}", width="stretch"):
            job.stop.set()
            if job.future is not None:
                job.future.cancel()
        if live is not None and job.partial is not None:
            live(job.partial)

    with st.container(key=f"working_{slot}"):
        draw()


def _remaining(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"about {seconds:.0f} s left" if seconds >= 1 else "almost done"
