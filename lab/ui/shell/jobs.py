"""Long work off the page's thread: one worker per device and lane, progress, cancel; equal work is done once for all.

A job computes in the worker and never touches Streamlit. The page asks for its answer at every run; while the job is
at work, a fragment draws its progress and runs the page once more when it ends.

What several sessions ask alike is one `Work`, which each of them follows by a `Job` of its own. Who cancels lets go of
it; it ends when nobody waits for it any more. What was stopped stays stopped, with what it had, and nothing else of its
page starts by itself, until the person asks for it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, TypeVar, cast
from uuid import uuid4

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from lab import devices
from lab.progress import Cancelled, Progress
from lab.types import LabError
from lab.ui.shell import shelf
from lab.ui.shell.say import say
from lab.ui.shell.words import name_of

T = TypeVar("T")
KEPT = 16
"""Results that a session keeps; the oldest go first."""
SHARED = 24
"""Pieces of work, at work or done, that are kept for whoever asks the same; the oldest go first."""
AT_ONCE = 0.7
"""Seconds that a page waits for a result before it shows progress instead."""
UNWATCHED = 180.0
"""Seconds after which a job that no page looks at any more is let go."""
GONE = 1.0
"""The same, where the browser has closed or reloaded the session that asked."""
STEADY = 3.0, 0.05
"""Seconds at work, and share done, from which on the time left is told."""
PAGE = "_page"
"""Where the session keeps which page is drawn."""


@dataclass
class Work:
    """One piece of work: what the worker tells of it, and who waits for it.

    Attributes:
        label: what is being done, for a person.
        lane: which worker it is for.
        share: of it that is done.
        message: what is at work.
        asked: when it was asked for first.
        began: when the worker began with it; None while it waits for its turn.
        partial: what there is so far.
        sight: what the work shows of itself meanwhile.
        jobs: those that wait for it.
        future: its answer.
    """

    label: str
    lane: str = ""
    share: float = 0.0
    message: str = ""
    asked: float = field(default_factory=time.monotonic)
    began: float | None = None
    partial: Any = None
    sight: Any = None
    jobs: list[Job] = field(default_factory=list)
    future: Future[Any] | None = None

    def cancelled(self) -> bool:
        """Whether nobody waits for it any more."""
        wanting = [job.wants() for job in self.jobs]
        return not any(wanting)

    @property
    def progress(self) -> Progress:
        """What the work tells its progress to, and learns from that it is to stop."""

        def hear(share: float, what: tuple[str, ...]) -> None:
            self.share, self.message = share, ", ".join(dict.fromkeys(map(name_of, what)))

        def see(sight: object) -> None:
            self.sight = sight

        return Progress(hear, self.cancelled, see=see)

    def run(self, work: Callable[[Progress], Iterator[T]]) -> T:
        """Does the work, in the worker; what it yields last is the answer.

        Raises:
            Cancelled: where it was stopped.
            LabError: where the device has failed, too.
        """
        self.began = time.monotonic()
        try:
            self.progress.check()
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

    @property
    def left(self) -> float | None:
        """Seconds still to go, as the progress so far suggests; None while that cannot be told yet."""
        spent = 0.0 if self.began is None else time.monotonic() - self.began
        seconds, share = STEADY
        return spent * (1 - self.share) / self.share if spent >= seconds and self.share >= share else None


@dataclass(eq=False)
class Job:
    """What a session waits for in one place of a page.

    Attributes:
        key: what the answer depends on.
        work: what computes it.
        page: on which page it was asked for.
        session: whose it is.
        seen: when a page last looked at it.
        missed: since when its session is gone.
        stop: set where the person has stopped it.
        lapsed: whether it was let go because nobody looked.
        kept: what there was when it was stopped.
    """

    key: Hashable
    work: Work
    page: str = ""
    session: str = ""
    seen: float = field(default_factory=time.monotonic)
    missed: float | None = None
    stop: Event = field(default_factory=Event)
    lapsed: bool = False
    kept: Any = None

    @property
    def future(self) -> Future[Any]:
        """Of the work."""
        return cast("Future[Any]", self.work.future)

    def wants(self) -> bool:
        """Whether the answer is still waited for: not stopped by the person, and watched by somebody."""
        now = time.monotonic()
        self.missed = None if _is_here(self.session) else self.missed or now
        self.lapsed = self.lapsed or now - self.seen > UNWATCHED or now - (self.missed or now) > GONE
        return not (self.stop.is_set() or self.lapsed)

    def let_go(self) -> None:
        """Stops waiting, at once and for good; what there is so far stays."""
        if not self.stop.is_set():
            self.kept = self.work.partial
            self.stop.set()

    def wait(self, seconds: float) -> bool:
        """Whether there is an answer, or it is waited for no more; after waiting for at most that long."""
        if self.stop.is_set():
            return True
        try:
            self.future.exception(seconds)
        except NotYet:
            return False
        except CancelledError:  # before its turn
            return True
        return True


_works: OrderedDict[tuple[str, Hashable, str], Work] = OrderedDict()
_works_lock = Lock()


@st.cache_resource
def _worker(device: str, lane: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"lab-{device}-{lane}")


def _is_here(session: str) -> bool:
    """Whether a browser shows the session."""
    return not session or not runtime.exists() or bool(runtime.get_instance().is_active_session(session))


def _results() -> OrderedDict[Hashable, Any]:
    return cast("OrderedDict[Hashable, Any]", st.session_state.setdefault("_results", OrderedDict()))


def _jobs() -> dict[str, Job]:
    return cast("dict[str, Job]", st.session_state.setdefault("_jobs", {}))


def _asked() -> dict[tuple[str, Hashable], Callable[..., Any]]:
    """What computes each answer that anybody may be given, by slot and key."""
    return cast("dict[tuple[str, Hashable], Callable[..., Any]]", st.session_state.setdefault("_asked_of", {}))


def _shelved() -> dict[tuple[str, Hashable], shelf.Kept]:
    """The answers that came with the lab, by slot and key."""
    return cast("dict[tuple[str, Hashable], shelf.Kept]", st.session_state.setdefault("_shelved", {}))


def _anew() -> set[tuple[str, Hashable]]:
    """The slots and keys for which the person wants a computation, whatever came with the lab."""
    return cast("set[tuple[str, Hashable]]", st.session_state.setdefault("_anew", set()))


def _ended() -> dict[tuple[str, Hashable], Job]:
    """The jobs that were stopped and whose slot is used for another key, so that they stay stopped."""
    return cast("dict[tuple[str, Hashable], Job]", st.session_state.setdefault("_ended", {}))


def _stopped() -> set[str]:
    """The pages on which the person has stopped something since she last asked for it."""
    return cast("set[str]", st.session_state.setdefault("_stopped", set()))


def _page() -> str:
    return cast("str", st.session_state.get(PAGE, ""))


def _own_name() -> str:
    """A name that no other session has."""
    return cast("str", st.session_state.setdefault("_own_name", uuid4().hex))


def _session() -> str:
    context = get_script_run_ctx()
    return context.session_id if context else ""


def answer(
    slot: str,
    key: Hashable,
    label: str,
    work: Callable[[Progress], Iterator[T]],
    live: Callable[[T], None] | None = None,
    lane: str = "",
    own: bool = False,
    by: Callable[..., Any] | None = None,
    watch: Callable[[Any], None] | None = None,
) -> T | None:
    """The last thing that `work` yields for this key: at once where the session has it, else None while it is at work.

    What came with the lab is taken from there, unless the person asked for it to be computed anew.

    Shows progress with a cancel button, or why there is no answer. Of work that was stopped, the answer is what it had
    yielded by then. Where something on the page was stopped, nothing new is begun without a click.

    Args:
        slot: which place of the page asks.
        key: what the answer depends on, and nothing but that: whoever asks the same gets the same.
        label: what is being done, for a person.
        work: yields what it has so far, at last the answer; runs in the worker and must not use Streamlit.
        live: draws what there is so far while the work goes on.
        lane: of the work; each has a worker of its own, so that what takes minutes holds up nothing that takes seconds.
        own: whether it is shared with nobody.
        by: what computes the answer; `work` where None.
        watch: draws what the work shows of itself while it goes on (`Progress.show`).
    """
    results, jobs = _results(), _jobs()
    if not own:
        _asked()[slot, key] = by or work
    if (slot, key) in results:
        results.move_to_end((slot, key))
        return cast(T, results[slot, key])
    if not own and slot not in jobs and (slot, key) not in _anew():
        kept = shelf.find(slot, key, by or work)
        if kept is not None:
            _shelved()[slot, key] = kept
            return cast("T", _keep(slot, key, kept.value))
    job = jobs.get(slot)
    if (slot, key) in _ended():
        return cast("T | None", _take(slot, _ended()[slot, key]))
    if job is not None and job.key != key:
        if job.stop.is_set():
            _ended()[slot, job.key] = job
            while len(_ended()) > KEPT:
                del _ended()[next(iter(_ended()))]
        job.let_go()
        del jobs[slot]
        job = None
    if job is None:
        if _page() in _stopped() and not _asked_for(slot, label):
            return None
        for name, other in list(jobs.items()):
            if other.work.lane == lane and other.page != _page() and not other.stop.is_set():
                other.let_go()  # what was asked for elsewhere must not hold up what is asked for now
                del jobs[name]
        job = jobs[slot] = _begin(slot, key, label, work, lane, own)
    job.seen = time.monotonic()
    if not job.wait(AT_ONCE):
        _progress(slot, live, watch)
        return None
    return cast("T | None", _take(slot, job))


def _begin(
    slot: str, key: Hashable, label: str, work: Callable[[Progress], Iterator[Any]], lane: str, own: bool
) -> Job:
    """A job that waits for the work that this slot and key stand for: the one that is there, or a new one."""
    name = slot, key, _own_name() if own else ""
    with _works_lock:
        shared = _works.get(name)
        if shared is None or _failed(shared):
            shared = _works[name] = Work(label, lane)
        _works.move_to_end(name)
        while len(_works) > SHARED:
            _works.popitem(last=False)
        job = Job(key, shared, _page(), _session())
        shared.jobs.append(job)
        if shared.future is None:
            shared.future = _worker(devices.pick().type, lane).submit(shared.run, work)
    return job


def _failed(work: Work) -> bool:
    """Whether a piece of work has ended without its answer, or is about to."""
    future = work.future
    if future is None or not future.done():
        return work.cancelled()
    return future.cancelled() or future.exception() is not None


def forget(slot: str, key: Hashable) -> None:
    """Drops the job and the result of a slot and key, so that the next `answer` computes anew."""
    job = _jobs().get(slot)
    if job is not None:
        _stopped().discard(job.page)
        if job.key == key:
            job.let_go()
            del _jobs()[slot]
    _stopped().discard(_page())
    _results().pop((slot, key), None)
    _ended().pop((slot, key), None)
    _shelved().pop((slot, key), None)
    _anew().add((slot, key))
    with _works_lock:
        for name in ((slot, key, ""), (slot, key, _own_name())):
            done = _works.get(name)
            if done is not None and done.future is not None and done.future.done():
                del _works[name]


def known(slot: str, key: Hashable, by: Callable[..., Any]) -> Any:
    """The answer to a slot and key that is there without any work; None where there is none."""
    if (slot, key) in _results():
        return _results()[slot, key]
    kept = shelf.find(slot, key, by)
    return None if kept is None else kept.value


def came_with_the_lab(values: Sequence[object]) -> shelf.Kept | None:
    """The oldest of some answers, where all of them came with the lab."""
    kept = [each for each in _shelved().values() if any(each.value is value for value in values)]
    return min(kept, key=lambda each: each.date) if len(kept) == len(values) else None


def forget_all() -> None:
    """Drops what is kept for whoever asks the same."""
    with _works_lock:
        _works.clear()


def _asked_for(slot: str, label: str) -> bool:
    """Whether the person wants what was not begun because she had stopped something on the page."""
    note, button = st.columns([4, 1], vertical_alignment="center")
    note.info(f"Not started, because this page was stopped: {_small(label)}.", icon=":material/pause_circle:")
    if not button.button("Begin", key=f"begin_{slot}", width="stretch"):
        return False
    _stopped().discard(_page())
    return True


def _take(slot: str, job: Job) -> Any:
    error: BaseException | None = Cancelled()
    if not (job.stop.is_set() or job.future.cancelled()):
        error = job.future.exception()
    if isinstance(error, Cancelled):
        if not (job.stop.is_set() or job.lapsed):  # all others let go of it just as this one came to wait for it
            del _jobs()[slot]
            st.rerun()
        if job.lapsed:
            job.let_go()
        st.info(f"Stopped: {_small(job.work.label)}.", icon=":material/stop_circle:")
        others = any(place == slot for place, _ in _ended())
        if st.button("Run it again", key=f"again_{slot}_{hash(job.key)}" if others else f"again_{slot}"):
            forget(slot, job.key)
            st.rerun()
        if job.kept is None and job.work.cancelled():  # it may tell what it has when it ends
            job.kept = job.work.partial
            if not job.future.done():
                _until_it_has_ended(job)
        return job.kept
    if isinstance(error, LabError):
        say(error)
        return job.work.partial
    del _jobs()[slot]
    if error is not None:
        raise error
    return _keep(slot, job.key, job.future.result())


def _keep(slot: str, key: Hashable, value: T) -> T:
    """Adds an answer to the session's results."""
    results = _results()
    results[slot, key] = value
    while len(results) > KEPT:
        results.popitem(last=False)
    return value


def _progress(slot: str, live: Callable[[Any], None] | None, watch: Callable[[Any], None] | None) -> None:
    """Progress and cancel, redrawn until the job ends; then the page runs once more."""

    @st.fragment(run_every=1.0 if live else 0.5 if watch else 0.25)
    def draw() -> None:
        job = _jobs().get(slot)
        if job is None or job.wait(0):
            st.rerun()
            return
        job.seen, work = time.monotonic(), job.work
        bar, button = st.columns([5, 1], vertical_alignment="bottom")
        parts = (work.label, _place(work) if work.began is None else work.message, _remaining(work.left))
        bar.progress(min(1.0, work.share), text=" · ".join(part for part in parts if part))
        if button.button("Cancel", key=f"cancel_{slot}", width="stretch"):
            job.let_go()
            _stopped().add(job.page)
            if work.cancelled():
                job.future.cancel()
            st.rerun()
        if live is not None and work.partial is not None:
            live(work.partial)
        if watch is not None and work.sight is not None:
            watch(work.sight)

    with st.container(key=f"working_{slot}"):
        draw()


def _until_it_has_ended(job: Job) -> None:
    """Runs the page once more when work that was stopped has come to its end."""

    @st.fragment(run_every=0.25)
    def look() -> None:
        if job.future.done():
            st.rerun()

    look()


def _place(work: Work) -> str:
    """Where work that waits for its turn stands."""
    with _works_lock:
        left = [w for w in _works.values() if w.lane == work.lane and w.future and not w.future.done()]
    before = sum(w.asked < work.asked for w in left)
    return f"waiting, {before} ahead of it" if before else "waiting for its turn"


def _small(label: str) -> str:
    return f"{label[0].lower()}{label[1:]}"


def _remaining(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"about {seconds:.0f} s left" if seconds >= 1 else "almost done"
