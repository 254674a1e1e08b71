"""A page as one object: what it is called, what it asks, how it is answered, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import streamlit as st

from lab.progress import Progress
from lab.ui.shell.ask import Ask, tell_refused
from lab.ui.shell.downloads import Offer, Recorded, files_of, offer_files
from lab.ui.shell.jobs import PAGE, answer, came_with_the_lab, forget
from lab.ui.shell.links import link_here
from lab.ui.shell.navigation import start
from lab.ui.shell.prose import prose, sections
from lab.ui.shell.say import attempt

S = TypeVar("S", bound=Hashable)
R = TypeVar("R", bound=Recorded)
Tabs = Mapping[str, Callable[[S, R], None]]
TAKE_AWAY, HOW = "Take away", "How it works"
STOPPED = "This run was stopped: everything here rests on what had been measured by then."
SEE_THE_RESULT = """<script>
if (innerWidth < 768) document.querySelector("[data-testid=stSidebarCollapseButton] button")?.click();
</script>"""
"""On a telephone the sidebar covers the page: it closes once something is run."""
STOPPED_SCRIPT = "The run was stopped before its end; this computes all of it."
STORED = "Stored with the lab: measured on {date} on {device}. “{button}” measures it anew."
STOPPED_FILES = (
    "This run was stopped: the files hold what had been measured by then, and say so; the command and the Python code "
    "measure all of it."
)


@dataclass(frozen=True)
class Page(Generic[S, R]):
    """A page that asks, measures and shows.

    S, the setup, is a frozen dataclass of what the person chose; it is the key of the result, so that a field left out
    of the comparison (`field(compare=False)`) must follow from the others. R, the result, makes a record of itself,
    from which all files are made.

    Attributes:
        name: the page's word: its folder, its file, the beginning of its widgets' keys and links.
        title: for a person.
        icon: of the navigation.
        about: what a person finds there, for the Overview page.
        choose: draws the settings in the sidebar; what was chosen, or None where it cannot be used, after saying why.
        compute: measures in a worker, without Streamlit; yields what there is so far, at last the result.
        show: draws the verdict and the main picture or chart.
        tabs: what else there is to see, by name, or what says so of a result; each is drawn when it is opened. Two come
            last: TAKE_AWAY, and HOW where how.md has a section of that name; a tab of such a name is drawn in place of
            the page's own.
        preview: drawn while there is no result yet.
        further: adds to the result what is measured apart from it, because it depends on less; draws its own progress.
        live: draws what there is so far while the work goes on; None where that is not worth a look.
        watch: draws what the work shows of itself while it goes on; None where it shows nothing.
        stored: a result that comes with the lab, where it has one for this setup.
        command: the command that measures the same again; None where there is none for this setup.
        script: the Python that computes the same again.
        files: what can be taken away beside the record and the rows.
        stem: how the names of the files begin; the page's name where None.
        how: what `{names}` stand for in the section "How it works" of how.md.
        doing: what is being done, for the progress bar.
        button: what the run button says.
        own_picture: whether a picture of the person's own is looked at, which no link can hold.
        private: whether the result is for nobody else, although he may ask the same.
        shared: whether it uses the model, picture, goal and seed that several pages have in common.
        attacks: whether it uses the attack that several pages look at, too.
        sidebar: whether the settings are drawn in the sidebar, or above the result.
        keeps: whether the result before stays on the page while the next is at work.
        parts: what answers a result is made of, where `gather` found several.
        gather: finds the result in place of `compute`, for a page whose result is made of several answers; None while
            one of them is at work.
        drop: forgets what `gather` found, so that Run computes it anew.
        body: draws the whole page in place of all this, for a page that neither asks nor measures.
    """

    name: str
    title: str
    icon: str
    about: str = ""
    choose: Callable[[Ask], S | None] = lambda ask: None
    compute: Callable[[S, Progress], Iterator[R]] = lambda setup, progress: iter(())
    show: Callable[[S, R], None] = lambda setup, result: None
    tabs: Tabs[S, R] | Callable[[S, R], Tabs[S, R]] = field(default_factory=dict)
    preview: Callable[[S], None] | None = None
    further: Callable[[S, R], R] = lambda setup, result: result
    live: Callable[[S, R], None] | None = None
    watch: Callable[[S, Any], None] | None = None
    stored: Callable[[S], R | None] = lambda setup: None
    command: Callable[[S, R], str | None] = lambda setup, result: None
    script: Callable[[S, R], str] | None = None
    files: Callable[[S, R], Sequence[Offer]] = lambda setup, result: ()
    stem: Callable[[S], str] | None = None
    how: Callable[[S, R], Mapping[str, object]] = lambda setup, result: {}
    doing: Callable[[S], str] = lambda setup: "Measuring"
    button: str = "Measure"
    own_picture: Callable[[S], bool] = lambda setup: False
    private: Callable[[S], bool] = lambda setup: False
    shared: bool = False
    attacks: bool = False
    sidebar: bool = True
    keeps: bool = False
    parts: Callable[[R], Sequence[object]] = lambda result: (result,)
    gather: Callable[[S], R | None] | None = None
    drop: Callable[[S], None] | None = None
    body: Callable[[], None] | None = None

    @property
    def path(self) -> str:
        """The file that Streamlit runs."""
        return f"pages/{self.name}.py"

    def key(self, name: str) -> str:
        """The key of a widget of this page, and its parameter in links."""
        return Ask(self.name).key(name)

    def draw(self, ask: Ask | None = None) -> None:
        """Draws the page: the only place that knows the run button, jobs, lazy tabs, links and downloads.

        Args:
            ask: how it asks, where widgets are preset or locked.
        """
        start()
        st.session_state[PAGE] = self.name
        if self.body is None:
            self.head()
        self.draw_within(ask)

    def head(self, of: str = "") -> None:
        """The page's name, or that of a view `of` a page, and one sentence of what it is for."""
        st.caption(f"{self.icon} **{of}{self.title}**  \n{self.about}")

    def draw_within(self, ask: Ask | None = None) -> None:
        """Draws the page as a view of another, which has called `start`."""
        if self.body is not None:
            self.body()
            return
        place = st.container()
        with st.sidebar if self.sidebar else nullcontext():
            wanted = attempt(lambda: self.choose(ask or Ask(self.name)))
        with place:
            tell_refused()
        setup = run_button(wanted, self.name, self.button, self.drop or partial(forget, self.name))
        if setup is None:
            st.info("These settings cannot be used; the reason is written beside them.")
            return
        result = self.answer(setup)
        if result is None:
            self._draw_meanwhile(setup)
            return
        if self.keeps:
            st.session_state[f"_before_{self.name}"] = setup, result
        with st.container(key="result"):
            if not result.complete:
                st.warning(STOPPED, icon=":material/stop_circle:")
            if (kept := came_with_the_lab(self.parts(result))) is not None:
                st.caption(STORED.format(date=kept.date, device=kept.device, button=self.button))
            place = st.container()
            result = self.further(setup, result)
            with place:
                self.show(setup, result)
            self._draw_tabs(setup, result)

    def _draw_meanwhile(self, setup: S) -> None:
        """What is seen while there is no result: the one before, so that a run or an error takes nothing away."""
        before: tuple[S, R] | None = st.session_state.get(f"_before_{self.name}")
        if before is not None:
            with st.container(key="previous"):
                st.caption("The previous result:")
                self.show(*before)
        elif self.preview is not None:
            self.preview(setup)

    def answer(self, setup: S) -> R | None:
        """The result for a setup; None while it is at work, which is then drawn."""
        stored = self.stored(setup)
        if stored is not None:
            return stored
        if self.gather is not None:
            return self.gather(setup)
        live = self.live

        def so_far(result: R) -> None:
            if live is not None:
                with st.container(key="so_far"):
                    live(setup, result)

        return answer(
            self.name,
            setup,
            self.doing(setup),
            lambda progress: self.compute(setup, progress),
            live and so_far,
            own=self.own_picture(setup) or self.private(setup),
            by=self.compute,
            watch=self.watch and partial(self.watch, setup),
        )

    def _draw_tabs(self, setup: S, result: R) -> None:
        tabs = dict(self.tabs(setup, result) if callable(self.tabs) else self.tabs)
        tabs[TAKE_AWAY] = tabs.pop(TAKE_AWAY, self.take_away)
        if HOW in tabs or HOW in sections(self.name):
            tabs[HOW] = tabs.pop(HOW, self.explain)
        key = self.key("tabs")
        if f"_{key}" in st.session_state:  # the open one stays open when the page is left and entered again
            st.session_state.setdefault(key, st.session_state[f"_{key}"])
        drawn = st.tabs(list(tabs), key=key, on_change="rerun", bind="query-params")
        for tab, draw in zip(drawn, tabs.values(), strict=True):
            if tab.open:
                with tab:
                    draw(setup, result)
        st.session_state[f"_{key}"] = st.session_state[key]

    def take_away(self, setup: S, result: R) -> None:
        """The tab with the files, the command and the Python that measure the same again, and the link."""
        stem = self.name if self.stem is None else self.stem(setup)
        if not result.complete:
            st.warning(STOPPED_FILES, icon=":material/stop_circle:")
        script = None if self.script is None else self.script(setup, result)
        if script is not None and not result.complete:
            script = f"# {STOPPED_SCRIPT}\n{script}"
        python = () if script is None else (Offer("Python (.py)", "py", "text/x-python", script),)
        offer_files(stem, self.name, (*files_of(result), *self.files(setup, result), *python))
        if command := self.command(setup, result):
            st.markdown("**The command that measures it again**")
            st.code(command, language="bash", wrap_lines=True)
        if script is not None:
            st.markdown("**The Python code that computes this**")
            st.code(script, language="python", wrap_lines=True)
        link_here("The link to this page" + ("; your own picture is not part of it" if self.own_picture(setup) else ""))

    def explain(self, setup: S, result: R) -> None:
        """The tab that says how it works."""
        st.markdown(prose(self.name, HOW, **self.how(setup, result)))


def run_at_once(page: str) -> None:
    """Makes a page show what its settings ask for at its next run, without waiting for Run."""
    st.session_state.pop(f"_applied_{page}", None)


def run_button(wanted: S | None, slot: str, label: str, drop: Callable[[S], None]) -> S | None:
    """Draws Run; returns what is to be shown: what was asked for at the last run, at first what the page asks for.

    Args:
        wanted: what the settings ask for now; None where they cannot be used. Run computes its results anew.
        slot: the page's name in the session.
        label: of the button.
        drop: forgets what was computed for a setup.
    """
    with st.sidebar:
        live = st.toggle("Run at every change", key="live", persist_state="session")
        pressed = st.button(label, type="primary", key="run", width="stretch", disabled=wanted is None)
    applied: S | None = st.session_state.get(f"_applied_{slot}")
    changed = wanted is not None and applied is not None and wanted != applied
    if changed and not (pressed or live):
        note, button = st.columns([4, 1], vertical_alignment="center")
        note.info("The settings have changed: the result below belongs to the previous ones.", icon=":material/info:")
        pressed = button.button("Run", key="run_here", width="stretch")
    if wanted is not None and pressed:
        st.html(SEE_THE_RESULT, unsafe_allow_javascript=True)
        drop(wanted)
    if wanted is not None and (pressed or live or applied is None):
        st.session_state[f"_applied_{slot}"] = applied = wanted
        changed = False
    st.session_state["_changed"] = changed
    return applied
