"""The shell of the pages: widgets that belong to a page, a page as one object, prose, files, links."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

import lab
from lab.models.catalog import CATALOG
from lab.models.trained import add_own
from lab.ui.pages.catalog import PAGES
from lab.ui.pages.overview.page import PAGE as OVERVIEW
from lab.ui.shell import links, prose
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import files_of
from lab.ui.shell.page import STOPPED, STOPPED_FILES
from lab.ui.shell.words import plain, short_name
from tests.support.pages import open_page


def form() -> None:
    import streamlit as st

    from lab.ui.shell.ask import Ask

    given = st.session_state.get("given", {})
    ask = Ask("sample", **given)
    st.write(ask.whole("steps", "Steps", 1, 100, 5), ask.seed(), ask.toggle("full", "Full"))


def page() -> None:
    from dataclasses import dataclass

    import streamlit as st

    from lab.types import ParamError
    from lab.ui.shell.page import Page

    @dataclass(frozen=True)
    class Setup:
        n: int

    @dataclass(frozen=True)
    class Result:
        values: tuple
        complete: bool

        def record(self):
            return {"values": list(self.values)}

        def rows(self):
            return [{"value": v} for v in self.values]

    def choose(ask):
        n = ask.whole("n", "N", 0, 9, 2)
        if n == 9:
            raise ParamError("nine is too many")
        return Setup(n)

    def compute(setup, progress):
        for k in range(setup.n):
            progress.tell(k / setup.n, "counting")
            yield Result(tuple(range(k + 1)), k == setup.n - 1 and setup.n != 3)

    Page(
        name="sample",
        title="Sample",
        icon=":material/home:",
        choose=choose,
        compute=compute,
        show=lambda setup, result: st.markdown(f"### counted {len(result.values)}"),
        tabs={
            "First": lambda setup, result: st.text("the first tab"),
            "Second": lambda s, r: st.text("the second tab"),
        },
        command=lambda setup, result: f"lab count --n {setup.n}",
    ).draw_within()


def text(at: AppTest) -> str:
    return " ".join(e.value for e in (*at.markdown, *at.text, *at.code, *at.error, *at.info))


def test_a_widget_s_key_begins_with_its_page() -> None:
    at = AppTest.from_function(form).run()
    assert at.number_input(key="sample_steps").value == 5
    assert at.number_input(key="sample_seed").value == 0
    assert Ask("other").key("steps") == "other_steps"


def test_a_widget_can_be_preset_and_locked() -> None:
    at = AppTest.from_function(form)
    at.session_state["given"] = {"preset": {"steps": 40}, "locked": ["seed"]}
    at.run()
    assert at.number_input(key="sample_steps").value == 40
    assert not at.number_input(key="sample_steps").disabled
    assert at.number_input(key="sample_seed").disabled
    at.number_input(key="sample_steps").set_value(7).run()
    assert at.number_input(key="sample_steps").value == 7


def test_a_link_comes_before_a_preset() -> None:
    at = AppTest.from_function(form)
    at.session_state["given"] = {"preset": {"steps": 40}}
    at.query_params["sample_steps"] = "9"
    at.run()
    assert at.number_input(key="sample_steps").value == 9


def test_a_page_asks_answers_and_offers_what_it_measured() -> None:
    at = AppTest.from_function(page, default_timeout=30).run()
    assert "### counted 2" in text(at)
    assert "the first tab" in text(at)
    assert "the second tab" not in text(at)
    at.session_state["sample_tabs"] = "Take away"
    at.run()
    assert "lab count --n 2" in text(at)
    assert [b.label for b in at.get("download_button")] == ["Table (.csv)", "Everything (.json)"]


def test_changed_settings_wait_for_run_and_a_link_is_then_not_theirs() -> None:
    at = AppTest.from_function(page, default_timeout=30).run()
    at.number_input(key="sample_n").set_value(4).run()
    assert "### counted 2" in text(at)
    assert "settings have changed" in text(at)
    at.session_state["sample_tabs"] = "Take away"
    at.run()
    assert [c.value for c in at.caption if "the link would give the new ones" in c.value]
    at.button(key="run").click().run()
    assert "### counted 4" in text(at)
    assert not [c.value for c in at.caption if "the link would give the new ones" in c.value]


def test_settings_that_do_not_work_are_told_in_a_sentence() -> None:
    at = AppTest.from_function(page, default_timeout=30)
    at.query_params["sample_n"] = "9"
    at.run()
    assert "Nine is too many." in text(at)
    assert "These settings cannot be used" in text(at)
    assert at.button(key="run").disabled


def test_the_files_hold_the_record_and_the_rows() -> None:
    class Result:
        complete = False

        def record(self) -> dict:
            return {"a": [1, None]}

        def rows(self) -> list[dict]:
            return [{"name": "x, y", "value": 1.5}, {"name": "z", "value": None}]

    table, everything = files_of(Result())
    assert list(csv.DictReader(io.StringIO(str(table.data)))) == [
        {"name": "x, y", "value": "1.5"},
        {"name": "z", "value": ""},
    ]
    assert json.loads(everything.data) == {"a": [1, None], "complete": False}


def test_every_page_says_what_one_finds_there() -> None:
    for page in PAGES:
        assert page.about.endswith("."), page.name
        assert page.icon.startswith(":material/")
    assert len({p.name for p in (OVERVIEW, *PAGES)}) == len(PAGES) + 1


def test_prose_fills_in_names_and_leaves_formulas(tmp_path, monkeypatch) -> None:
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "how.md").write_text("## One\nAt {n} of $\\frac{a}{b}$.\n\n## Two\nx\n", encoding="utf-8")
    monkeypatch.setattr(prose, "PAGES", tmp_path)
    prose.sections.cache_clear()
    assert prose.prose("sample", "One", n=3) == "At 3 of $\\frac{a}{b}$."
    with pytest.raises(KeyError):
        prose.prose("sample", "Three")
    prose.sections.cache_clear()


def test_no_text_of_a_page_has_a_name_that_nothing_fills_in() -> None:
    for page in PAGES:
        assert "{" not in prose.prose(page.name, "About")


def test_short_names_are_distinct_within_a_task() -> None:
    names = [(key.split("/")[0], short_name(key)) for key in CATALOG]
    assert len(set(names)) == len(names)


def test_what_is_read_aloud_has_no_marks() -> None:
    assert plain("**Clean**: *seen* as `0`, see [Xu 2018](https://a.b/c)") == "Clean: seen as 0, see Xu 2018"


def test_an_old_link_s_sizes_and_names_are_renewed() -> None:
    at = open_page("robustness", robustness_models_mnist="Convolutional net, defensively distilled", s_count="20")
    assert at.multiselect(key="robustness_models_mnist").value == ["mnist/cnn_distilled"]
    assert at.select_slider(key="robustness_count").value == 20
    assert not at.warning


def test_a_net_of_another_session_is_named_as_that() -> None:
    at = open_page("attack", model="My: small net, MNIST")
    (told,) = [w.value for w in at.warning]
    assert "saved in another session or is no longer kept" in told
    assert "used instead: EfficientNet-Lite0, ImageNet" in told
    at.selectbox(key="model").set_value("mnist/softmax").run()
    assert not at.warning  # the person has chosen since


def own_nets() -> None:
    import streamlit as st

    from lab.models import trained as models
    from lab.ui.shell import trained
    from lab.ui.shell.ask import Ask, tell_refused

    if st.session_state.get("let_go"):
        with models._own_lock:
            models._own.pop(st.session_state["own"], None)
    one, several = Ask("one"), Ask("some")
    keys = [key for key in trained.keys("mnist") if "/cnn" in key or "/own" in key]
    st.text(one.chosen_model("model", "Model", keys, "mnist/cnn") + " " + " ".join(several.models("mnist", ["cnn"])))
    tell_refused()


def test_an_own_net_that_is_kept_no_longer_is_named_and_never_replaced_in_silence() -> None:
    net = lab.load_model("mnist/softmax")
    key = add_own(replace(net.card, name="My: net"), net)
    at = AppTest.from_function(own_nets, default_timeout=60)
    at.session_state["_own"] = {key: "My: net"}
    at.session_state["own"] = key
    at.session_state["one_model"] = key
    at.session_state["some_models_mnist"] = ["mnist/mlp", key]
    at.run()
    assert at.text[0].value == f"{key} mnist/mlp {key}"
    assert not at.warning
    at.session_state["let_go"] = True
    at.run()
    assert at.text[0].value == "mnist/cnn mnist/mlp"
    assert [w.value for w in at.warning] == [
        "Chosen before, but no longer kept: My: net (used instead: mnist/cnn).",
        "Chosen before, but no longer kept: My: net (used instead: the others).",
    ]
    at.selectbox(key="one_model").set_value("mnist/cnn_small").run()
    assert len(at.warning) == 1


@pytest.mark.parametrize(("share", "number"), [(0.1, 25.5), (0.2, 51.0), (0.3, 76.5), (1.0, 255.0)])
def test_the_sizes_of_papers_are_reached_exactly(share: float, number: float) -> None:
    at = open_page("attack", model="Softmax regression, MNIST").run()
    at.number_input(key="_eps_unit").set_value(share).run()
    assert at.number_input(key="eps").value == number
    assert at.number_input(key="eps").value / 255 == share
    assert at.select_slider(key="_eps_slide").value == number


def test_old_parameters_have_one_present_name() -> None:
    for page, prefixes in links.OLD_PREFIXES.items():
        for old, new in prefixes.items():
            assert links._renewed(f"{old}x", prefixes) == f"{new}x", page
            assert links._renewed(f"{new}x", prefixes) == f"{new}x", page


def test_streamlit_still_has_what_the_navigation_reaches_into() -> None:
    assert hasattr(PagesManager, "uses_pages_directory"), "Streamlit renamed it: see lab/ui/shell/navigation.py"


def test_what_is_not_complete_says_so_beside_the_result_and_the_files() -> None:
    whole, part = (AppTest.from_function(page, default_timeout=30) for _ in range(2))
    part.query_params["sample_n"] = "3"
    for at in (whole, part):
        at.run()
        at.session_state["sample_tabs"] = "Take away"
        at.run()
    assert [w.value for w in whole.warning] == []
    assert [w.value for w in part.warning] == [STOPPED, STOPPED_FILES]


def test_every_page_has_its_title_and_what_it_is_for() -> None:
    at = open_page("defenses")
    assert any("**Defenses · Transform or detect**" in c.value for c in at.caption)
    at, page = open_page("transfer"), next(p for p in PAGES if p.name == "transfer")
    assert f"{page.icon} **Transfer**  \n{page.about}" in [c.value for c in at.caption]
