"""Jobs of a session: one answer for each question, the newest first, and what was stopped is not an answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from lab import devices


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

    st.session_state["_own"] = ["mnist/own-0123456789abcdef"]
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
