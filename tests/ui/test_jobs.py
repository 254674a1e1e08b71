"""Jobs of a session: one answer for each question, the newest first, and what was stopped is not an answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from lab import devices
from lab.ui.shell import jobs


def counting() -> None:
    import time

    import streamlit as st

    from lab.ui.shell import jobs

    asked, counted = st.session_state.get("asked", 2), st.session_state.setdefault("counted", [])

    def work(progress):
        counted.append(asked)
        while asked == 1 and not progress.cancelled:  # the first question takes for ever
            time.sleep(0.01)
        yield 10 * asked

    st.text(f"answer {jobs.answer('slot', asked, 'Counting', work)}")


def stopping() -> None:
    import time

    import streamlit as st

    from lab.ui.shell import jobs

    def work(progress):
        yield "a part"
        while not progress.cancelled:
            time.sleep(0.01)
        # ends as if it had come to its end

    st.text(f"answer {jobs.answer('slot', 1, 'Measuring', work)}")


def nets() -> None:
    import streamlit as st

    from lab.ui.shell import trained

    st.session_state["_own"] = {"mnist/own-0123456789abcdef": "My: net"}
    st.text(f"{trained.mine()} {[key for key in trained.keys('mnist') if 'own' in key]}")


def until(at: AppTest, true: Callable[[], bool]) -> None:
    """Runs the page until something holds."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, [*(t.value for t in at.text), *(i.value for i in at.info)]
        time.sleep(0.02)
        at.run()


def test_a_question_is_answered_once_for_each_key() -> None:
    at = AppTest.from_function(counting, default_timeout=30).run()
    until(at, lambda: at.text[0].value == "answer 20")
    at.session_state["asked"] = 3
    at.run()
    until(at, lambda: at.text[0].value == "answer 30")
    at.session_state["asked"] = 2
    at.run()
    assert at.text[0].value == "answer 20"
    assert at.session_state["counted"] == [2, 3]


def test_the_newest_question_ends_the_one_before() -> None:
    at = AppTest.from_function(counting, default_timeout=30)
    at.session_state["asked"] = 1
    at.run()
    assert at.text[0].value == "answer None"
    at.session_state["asked"] = 2
    at.run()
    until(at, lambda: at.text[0].value == "answer 20")


def test_work_that_was_stopped_is_shown_and_not_taken_for_whole() -> None:
    at = AppTest.from_function(stopping, default_timeout=30).run()
    until(at, lambda: bool(at.button))
    at.button(key="cancel_slot").click().run()
    until(at, lambda: bool(at.info))
    assert at.info[0].value == "Stopped: measuring."
    assert at.text[0].value == "answer a part"
    assert [b.key for b in at.button] == ["again_slot"]


def test_a_net_that_was_let_go_is_not_offered() -> None:
    assert AppTest.from_function(nets).run().text[0].value == "[] []"


def failing() -> None:
    import streamlit as st
    import torch

    from lab.ui.shell import jobs

    fault = st.session_state["fault"]

    def work(progress):
        yield "a part"
        raise {
            "memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
            "device": torch.AcceleratorError("CUDA error: an illegal memory access\nCUDA kernel errors"),
        }[fault]

    st.text(f"answer {jobs.answer('slot', fault, 'Measuring', work)}")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("memory", "does not suffice: take fewer images or a smaller model, or LAB_DEVICE=cpu."),
        ("device", "The device has failed (CUDA error: an illegal memory access): start the lab anew"),
    ],
)
def test_a_device_that_fails_is_one_sentence_and_what_there_was_stays(fault, said, monkeypatch) -> None:
    freed = []
    monkeypatch.setattr(devices, "free", lambda: freed.append(True))
    at = AppTest.from_function(failing, default_timeout=30)
    at.session_state["fault"] = fault
    at.run()
    until(at, lambda: len(at.error) == 1)
    assert said in at.error[0].value
    assert not at.exception
    assert at.text[0].value == "answer a part"
    assert freed, "the memory is given back"


def together() -> None:
    import threading

    import streamlit as st

    from lab.ui.shell import jobs

    gate = st.session_state["gate"]

    def work(progress):
        gate.append(threading.get_ident())
        while gate[0] == "closed" and not progress.cancelled:
            threading.Event().wait(0.01)
        yield gate[0]

    own = st.session_state["own"]
    st.text(f"answer {jobs.answer('slot', 'the same', 'Measuring', work, own=own)}")


@pytest.mark.parametrize("own", [False, True])
def test_what_several_sessions_ask_alike_is_done_once(own) -> None:
    """Unless it is the person's own; who cancels lets go, and the others get their answer."""
    gate = ["closed"]
    sessions = [AppTest.from_function(together, default_timeout=30) for _ in range(3)]
    for k, at in enumerate(sessions):
        at.session_state["gate"], at.session_state["own"] = gate, own
        at.run()
        assert at.text[0].value == "answer None"
        assert own or k == 0 or len(gate) == 2, "the second joins the work of the first"
    if own:
        gate[0] = "open"
        for at in sessions:
            until(at, lambda at=at: at.text[0].value == "answer open")
        assert len(gate) == 4, "each has done its own"
        return
    sessions[0].button(key="cancel_slot").click().run()
    assert "Stopped: measuring." in [i.value for i in sessions[0].info]
    gate[0] = "open"
    for at in sessions[1:]:
        until(at, lambda at=at: at.text[0].value == "answer open")
    assert len(gate) == 2, "it was done once"
    sessions[0].run()
    assert sessions[0].text[0].value == "answer None", "what was stopped stays stopped"


def two_slots() -> None:
    import threading

    import streamlit as st

    from lab.ui.shell import jobs

    began = st.session_state["began"]

    def work(slot):
        def run(progress):
            began.append(slot)
            yield f"a part of {slot}"
            while not progress.cancelled:
                threading.Event().wait(0.01)

        return run

    for slot in ("first", "second"):
        st.text(f"{slot} {jobs.answer(slot, 1, f'Measuring {slot}', work(slot))}")


def test_a_stopped_place_stays_stopped_and_nothing_else_of_the_page_begins() -> None:
    began: list[str] = []
    at = AppTest.from_function(two_slots, default_timeout=30)
    at.session_state["began"] = began
    at.run()
    until(at, lambda: began == ["first"])
    at.button(key="cancel_second").click().run()  # it waits in the lane of the first, and is stopped there
    at.button(key="cancel_first").click().run()
    for _ in range(5):
        at.run()
    assert began == ["first"]
    assert [t.value for t in at.text] == ["first a part of first", "second None"]
    at.button(key="again_second").click().run()
    until(at, lambda: began == ["first", "second"])
    assert at.text[0].value == "first a part of first", "the other one stays stopped"
    at.button(key="cancel_second").click().run()


def two_keys() -> None:
    import threading

    import streamlit as st

    from lab.ui.shell import jobs

    began = st.session_state["began"]
    for key in ("a", "b"):

        def work(progress, key=key):
            began.append(key)
            yield f"a part of {key}"
            while not progress.cancelled:
                threading.Event().wait(0.01)

        if (found := jobs.answer("slot", key, "Measuring", work)) is not None:
            st.text(found)
        else:
            break


def test_what_was_stopped_stays_so_although_its_slot_is_asked_for_something_else() -> None:
    began: list[str] = []
    at = AppTest.from_function(two_keys, default_timeout=30)
    at.session_state["began"] = began
    at.run()
    until(at, lambda: began == ["a"])
    at.button(key="cancel_slot").click().run()
    for _ in range(3):
        at.run()
        assert [t.value for t in at.text] == ["a part of a"]
        assert [i.value for i in at.info] == [
            "Stopped: measuring.",
            "Not started, because this page was stopped: measuring.",
        ]
    at.button(key="begin_slot").click().run()
    until(at, lambda: began == ["a", "b"])
    assert [t.value for t in at.text] == ["a part of a"], "the first stays as it was stopped"
    at.button(key="cancel_slot").click().run()
    at.run()
    assert not at.exception
    assert [t.value for t in at.text] == ["a part of a", "a part of b"]
    assert began == ["a", "b"]


def follow_up() -> None:
    import threading

    import streamlit as st

    from lab.ui.shell import jobs

    began = st.session_state["began"]

    def work(progress):
        began.append("main")
        yield "a part"
        while not progress.cancelled:
            threading.Event().wait(0.01)

    def more(progress):
        began.append("more")
        yield "more"

    found = jobs.answer("main", 1, "Measuring", work)
    if found is not None:
        st.text(f"{found}, {jobs.answer('more', 1, 'Measuring more', more)}")


def test_what_follows_from_something_stopped_waits_for_a_click() -> None:
    began: list[str] = []
    at = AppTest.from_function(follow_up, default_timeout=30)
    at.session_state["began"] = began
    at.run()
    until(at, lambda: began == ["main"])
    at.button(key="cancel_main").click().run()
    at.run()
    assert began == ["main"]
    assert at.text[0].value == "a part, None"
    assert "Not started, because this page was stopped: measuring more." in [i.value for i in at.info]
    at.button(key="begin_more").click().run()
    until(at, lambda: at.text[0].value == "a part, more")


def test_time_left_does_not_count_the_wait_and_is_told_once_it_is_steady(monkeypatch) -> None:
    work = jobs.Work("x", share=0.5)
    assert work.left is None, "it has not begun"
    now = time.monotonic()
    work.began = now - 1
    assert work.left is None, "too early to tell"
    work.began = now - 10
    assert work.left == pytest.approx(10, abs=0.5)
    work.share = 0.01
    assert work.left is None


def tells_at_its_end() -> None:
    import threading

    import streamlit as st

    from lab.ui.shell import jobs

    gate = st.session_state["gate"]

    def work(progress):
        gate.append("at work")
        while not progress.cancelled or len(gate) < 2:
            threading.Event().wait(0.01)
        yield "what it had"

    st.text(f"answer {jobs.answer('slot', 1, 'Measuring', work)}")


def test_what_work_tells_when_it_is_stopped_is_kept() -> None:
    """Cancel is acknowledged at once; what comes of it a moment later is shown then."""
    gate: list[str] = []
    at = AppTest.from_function(tells_at_its_end, default_timeout=30)
    at.session_state["gate"] = gate
    at.run()
    until(at, lambda: len(gate) == 1)
    at.button(key="cancel_slot").click().run()
    assert "Stopped: measuring." in [i.value for i in at.info]
    assert at.text[0].value == "answer None"
    gate.append("may end")
    until(at, lambda: at.text[0].value == "answer what it had")
    assert "Stopped: measuring." in [i.value for i in at.info]
