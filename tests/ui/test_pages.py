"""Every page as a person meets it, without a browser: alone and through app.py."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import lab
from lab import devices
from lab.attacks import CATALOG
from lab.experiments.attack.run import AttackRun
from lab.progress import Cancelled
from lab.types import Access
from lab.ui.pages.compare.setup import Both
from lab.ui.parts.result import SLOT
from lab.ui.parts.scenario import Scenario
from lab.ui.shell import jobs
from lab.ui.shell.words import attack_label
from tests.support.pages import MNIST, PAGES, ROOT, app, open_page, settle, verdict


def attack_page(**query: str) -> AppTest:
    return open_page("attack", **query)


def setup_of(at: AppTest, page: str) -> Any:
    """What a page shows the result of."""
    return at.session_state[f"_applied_{page}"]


def run_of(at: AppTest, scenario: Scenario | None = None) -> AttackRun:
    """The attack of a scenario, at first of the one that the Attack page shows."""
    return at.session_state["_results"][SLOT, scenario or setup_of(at, "attack")]


def shows_something(at: AppTest) -> bool:
    return any(m.value.startswith(("### ", "#### ")) for m in at.markdown)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_renders(page: str) -> None:
    assert shows_something(settle(app().switch_page(f"pages/{page}.py")))


def test_a_page_renders_on_its_own() -> None:
    assert shows_something(settle(app("pages/transfer.py")))


def test_the_default_scenario_fools_the_model_on_first_paint() -> None:
    at = attack_page()
    assert "EfficientNet-Lite0 now sees **mink**" in verdict(at)
    assert "where it saw **otter**" in verdict(at)
    assert "4/255" in verdict(at)


def test_the_overview_tells_what_its_stored_result_says() -> None:
    at = settle(app())
    result = json.loads((ROOT / "assets/overview/result.json").read_text(encoding="utf-8"))["result"]
    assert result["success"]
    assert f"{result['attacked']['name']} ({result['attacked']['confidence']:.0%})" in verdict(at)


def test_a_link_restores_the_scenario() -> None:
    at = attack_page(**MNIST, eps="26/255", steps="7", norm="L∞", target="3", seed="5", mnist_image="4")
    assert at.selectbox(key="model").value == "mnist/cnn"
    assert at.number_input(key="steps").value == 7
    assert at.number_input(key="eps").value == 26
    assert at.selectbox(key="target").value == "3"
    assert at.number_input(key="seed").value == 5
    data, model = lab.load_data("mnist").rows([4]), lab.load_model("mnist/cnn")
    result = lab.attack("bim", model, data.x, data.y, target=3, seed=5, eps="26/255", steps=7)
    seen = model.card.classes[int(result.predictions[0])]
    assert f"sees **{seen}** ({result.confidence[0]:.0%})" in verdict(at).replace("still ", "").replace("now ", "")


def test_a_nonsense_link_falls_back_to_the_defaults() -> None:
    at = attack_page(model="nonsense", attack="nonsense", eps="nonsense", steps="-4", seed="x", target="a unicorn")
    assert at.selectbox(key="model").value == "imagenet/efficientnet_lite0"
    assert at.number_input(key="eps").value == 4
    assert "EfficientNet-Lite0 now sees" in verdict(at)


def test_a_nonsense_link_is_told_in_one_sentence() -> None:
    at = app()
    at.query_params.update(model="nonsense", eps="-3", steps="0")
    at.switch_page("pages/attack.py").run()
    assert len(at.warning) == 1
    for asked in ("model “nonsense”", "eps “-3”", "steps “0”"):
        assert asked in at.warning[0].value


def test_a_good_link_needs_no_warning() -> None:
    at = app()
    at.query_params.update(MNIST, eps="26/255", steps="7", target="3", seed="5", mnist_image="4")
    at.switch_page("pages/attack.py").run()
    assert not at.warning


def test_changed_settings_wait_for_run() -> None:
    at = attack_page(**MNIST)
    before = verdict(at)
    at.number_input(key="eps").set_value(0.0)
    settle(at)
    assert verdict(at) == before
    assert any("settings have changed" in i.value for i in at.info)
    at.button(key="run").click()
    settle(at)
    assert "still sees" in verdict(at)
    assert not any("settings have changed" in i.value for i in at.info)


def test_another_data_set_brings_its_own_epsilon_and_target() -> None:
    at = attack_page(target="tiger cat")
    at.selectbox(key="model").set_value("fashion_mnist/cnn")
    at.button(key="run").click()
    settle(at)
    assert at.number_input(key="eps").value == 26
    assert at.selectbox(key="target").value == "any other class"
    assert "Convolutional net" in verdict(at)


@pytest.mark.parametrize(
    ("tab", "marker"),
    [
        ("Epsilon", "class first changes"),
        ("Saved as a file", "A PNG rounds every value"),
        ("Take away", "The Python code that computes this"),
        ("How it works", "Adversarial Examples in the Physical World"),
        ("Perturbation", "Spectrum"),
        ("Decision plane", "Every cell is a picture"),
        ("Iterations", "Drag the slider"),
    ],
)
def test_every_tab_shows_its_result(tab: str, marker: str) -> None:
    at = app()
    at.query_params.update(MNIST)
    at = at.switch_page("pages/attack.py")
    at.session_state["attack_tabs"] = tab
    settle(at)
    texts = [e.value for e in (*at.markdown, *at.caption)]
    assert any(marker in t for t in texts), texts


def short(key: str) -> dict[str, str]:
    """Settings with which an attack on an MNIST digit ends soon."""
    small = {"steps": "3", "searches": "1", "version": "quick"}
    return {p.name: small[p.name] for p in CATALOG[key].params if p.name in small}


@pytest.mark.parametrize("key", list(lab.catalog()["attacks"]))
def test_the_page_offers_every_attack(key: str) -> None:
    spec = CATALOG[key]
    at = app()
    at.query_params.update(MNIST | {"attack": attack_label(spec)} | short(key))
    at = at.switch_page("pages/attack.py")
    at.session_state["attack_tabs"] = "How it works"
    settle(at)
    request = setup_of(at, "attack").request
    assert request.attack == key
    assert set(request.params) == {p.name for p in spec.params}
    assert "Convolutional net" in verdict(at)
    told = "\n".join(m.value for m in at.markdown)
    assert spec.access.value in told
    assert all(paper.url in told for paper in spec.papers)


@pytest.mark.parametrize("key", list(lab.catalog()["attacks"]))
def test_every_attack_of_the_form_starts_at_its_own_defaults(key: str) -> None:
    at = app()
    at.query_params.update(MNIST | {"eps": "52/255"})
    at.switch_page("pages/attack.py").run().run()  # in AppTest app.py's widgets have their ids from the second run
    at.selectbox(key="attack").set_value(key).run()
    assert not at.exception
    for p in CATALOG[key].params:
        if p.name == "eps":
            assert at.number_input(key="eps").value == 52
        elif p.kind is int and not p.optional:
            assert at.number_input(key=p.name).value == p.default


def test_attacks_are_grouped_by_what_they_see() -> None:
    offered = attack_page(**MNIST).selectbox(key="attack").options
    order = [attack_label(spec) for access in Access for spec in CATALOG.values() if spec.access is access]
    assert offered == order


def texts(at: AppTest) -> str:
    return "\n".join(e.value for e in (*at.markdown, *at.caption))


def film(at: AppTest) -> dict:
    shown = [json.loads(each.proto.json) for each in at.get("bidi_component")]
    return next(each for each in shown if "stops" in each)


def test_a_smallest_change_is_told_with_its_curve() -> None:
    at = attack_page(**MNIST | {"attack": "DeepFool"})
    found = run_of(at).result
    assert f"the smallest change found is {found.distance['l2'][0]:.3g} in L2" in verdict(at)
    told = film(at)
    curve = told["curves"][0]
    assert "smallest success" in curve["title"]
    assert curve["values"][-1] == pytest.approx(found.distance["l2"][0].item(), rel=1e-6)
    assert curve["values"][0] is None
    assert told["axis"] == "iterations"


def test_a_black_box_attack_is_told_by_its_queries() -> None:
    at = attack_page(**MNIST | {"attack": "Square (scores only)", "eps": "4/255", "steps": "2000"})
    frames = run_of(at).result.frames
    assert len(frames) > 200
    told = film(at)
    assert told["axis"] == "queries of the model"
    assert told["at"][-1] == int(frames[-1].queries[0])
    assert "margin" in told["curves"][0]["title"]
    assert len(told["stops"]) <= 17
    assert len(told["at"]) < 900


def test_with_a_goal_the_loss_shown_is_the_falling_one_of_the_goal() -> None:
    at = attack_page(**MNIST | {"target": "3"})
    (loss,) = (c for c in film(at)["curves"] if "cross-entropy" in c["title"])
    assert "goal" in loss["title"]
    assert loss["values"][0] > loss["values"][-1] >= 0


def test_the_line_tells_change_of_class_and_goal_apart() -> None:
    at = app()
    at.query_params.update(MNIST | {"target": "3"})
    at = at.switch_page("pages/attack.py")
    at.session_state["attack_tabs"] = "Epsilon"
    settle(at)
    assert re.search(r"class first changes at .*, and the goal, \*3\*, is reached (at|nowhere)", texts(at))
    assert "reach the goal" in texts(at)


@pytest.mark.parametrize(("norm", "step"), [("L∞", "sign"), ("L2", "lVert #1")])
def test_the_formula_is_that_of_the_norm(norm: str, step: str) -> None:
    at = app()
    at.query_params.update(MNIST | {"norm": norm})
    at = at.switch_page("pages/attack.py")
    at.session_state["attack_tabs"] = "How it works"
    settle(at)
    assert all(step in e.value for e in at.latex)
    for letter in (r"$\epsilon$", r"$\Pi$", "$J$", "$y$"):
        assert letter in texts(at)


def test_the_open_tab_stays_open_across_pages() -> None:
    at = app()
    at.query_params.update(MNIST)
    at = at.switch_page("pages/attack.py")
    at.session_state["attack_tabs"] = "Perturbation"
    settle(at)
    settle(at.switch_page("pages/overview.py"))
    settle(at.switch_page("pages/attack.py"))
    assert at.session_state["attack_tabs"] == "Perturbation"
    assert "Spectrum" in texts(at)


def test_an_upload_keeps_its_name_across_pages_until_removed() -> None:
    at = attack_page(**MNIST)
    at.segmented_control(key="source").set_value("Upload")
    settle(at)
    at.file_uploader(key="upload").upload("my cat.png", GOOD["cmyk"], "image/png")
    settle(at)
    settle(at.switch_page("pages/overview.py"))
    settle(at.switch_page("pages/attack.py"))
    assert "In use: my cat.png, 40 x 50" in texts(at)
    at.button(key="remove_upload").click()
    settle(at)
    assert "In use" not in texts(at)
    assert "the bundled picture is used" in texts(at)


BOTH = {
    "model": "Convolutional net, MNIST",
    "attack": "FGSM",
    "compare_b_attack": "DeepFool",
    "mnist_image": "4",
}


def verdicts(at: AppTest) -> list[str]:
    return [m.value for m in at.markdown if m.value.startswith("#### ")]


def test_compare_shows_two_attacks_on_the_same_picture() -> None:
    at = open_page("compare", **BOTH, eps="52/255", compare_b_candidates="3", seed="2")
    pair = setup_of(at, "compare")
    both = Both(run_of(at, pair.a), run_of(at, pair.b))
    assert list(both.record()) == ["a", "b"]
    a, b = both.record().values()
    assert (a["attack"], a["params"]["eps"]) == ("fgsm", 52 / 255)
    assert (b["attack"], b["params"]["candidates"]) == ("deepfool", 3)
    assert a["seed"] == b["seed"] == 2
    assert a["image"] == b["image"]
    assert a["image"]["id"] == "4"
    assert [row["attack"] for row in both.rows()] == ["fgsm", "deepfool"]
    told = verdicts(at)
    assert told[0].startswith("#### A: Convolutional net")
    assert "no pixel moved" in told[0]
    assert "smallest change found" in told[1]
    (shown,) = [json.loads(each.proto.json) for each in at.get("bidi_component")]
    scales = [tile["caption"] for tile in shown["tiles"] if tile["caption"].startswith("amplified")]
    assert len(scales) == 2
    assert len(set(scales)) == 1
    table = at.dataframe[0].value
    assert list(table["attack"]) == ["A: FGSM", "B: DeepFool"]
    curves = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    assert [c["name"] for c in curves if c["mode"] != "text"] == ["A: FGSM", "B: DeepFool"]


def test_compare_waits_for_run_and_keeps_its_state_across_pages() -> None:
    at = open_page("compare", model=BOTH["model"])
    before = verdicts(at)
    at.selectbox(key="compare_b_attack").set_value("bim")
    settle(at)
    assert verdicts(at) == before
    assert any("settings have changed" in i.value for i in at.info)
    at.button(key="run").click()
    settle(at)
    assert "no pixel moved" in verdicts(at)[1]
    after = verdicts(at)
    settle(at.switch_page("pages/overview.py"))
    settle(at.switch_page("pages/compare.py"))
    assert at.selectbox(key="compare_b_attack").value == "bim"
    assert verdicts(at) == after


def test_a_nonsense_link_to_compare_is_told() -> None:
    at = app()
    at.query_params.update(BOTH | {"attack": "nonsense", "compare_b_candidates": "-1"})
    at.switch_page("pages/compare.py").run()
    assert "attack “nonsense”" in at.warning[0].value
    assert "compare_b_candidates “-1”" in at.warning[0].value


def test_old_links_restore_their_attacks_under_their_present_names() -> None:
    at = open_page("compare", model=BOTH["model"], a_attack="FGSM", a_eps="52/255", b_attack="DeepFool")
    assert at.selectbox(key="attack").value == "fgsm"
    assert at.number_input(key="eps").value == 52
    assert at.selectbox(key="compare_b_attack").value == "deepfool"
    at = open_page("representations", model=BOTH["model"], r_attack="FGSM", r_eps="52/255")
    assert at.selectbox(key="attack").value == "fgsm"
    assert at.number_input(key="eps").value == 52
    assert not at.warning


def file(make: Callable[[io.BytesIO], object]) -> bytes:
    held = io.BytesIO()
    make(held)
    return held.getvalue()


WHOLE = file(lambda f: Image.effect_noise((64, 64), 80).save(f, "JPEG"))
BAD = {
    "text named .png": (b"hello", "not a picture"),
    "0 bytes": (b"", "empty"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "damaged"),
    "1x1": (file(lambda f: Image.new("RGB", (1, 1)).save(f, "PNG")), "at least 2 x 2"),
    "bomb": (file(lambda f: Image.new("1", (20_000, 20_000)).save(f, "PNG")), "at most 25,000,000"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_upload_gets_one_sentence_and_loses_nothing(case: str) -> None:
    at = attack_page(**MNIST)
    before = verdict(at)
    at.segmented_control(key="source").set_value("Upload")
    settle(at)
    data, told = BAD[case]
    at.file_uploader(key="upload").upload("picture.png", data, "image/png")
    settle(at)
    assert [told in e.value for e in at.error] == [True], [e.value for e in at.error]
    assert "\n" not in at.error[0].value
    assert verdict(at) == before


GOOD = {
    "cmyk": file(lambda f: Image.new("CMYK", (40, 50), (0, 200, 200, 0)).save(f, "JPEG")),
    "16-bit": file(lambda f: Image.new("I;16", (40, 40), 40_000).save(f, "PNG")),
    "palette": file(lambda f: Image.new("P", (40, 40), 3).save(f, "PNG", transparency=3)),
}


@pytest.mark.parametrize("case", GOOD)
def test_an_unusual_upload_is_attacked(case: str) -> None:
    at = attack_page(**MNIST)
    at.segmented_control(key="source").set_value("Upload")
    settle(at)
    at.file_uploader(key="upload").upload("picture.png", GOOD[case], "image/png")
    settle(at)
    at.button(key="run").click()
    settle(at)
    assert not at.error
    assert setup_of(at, "attack").request.dataset == "file"
    assert verdict(at)


def test_two_sessions_do_not_see_each_other() -> None:
    one, two = attack_page(**MNIST), attack_page(**MNIST, eps="0/255")
    assert "still sees" in verdict(two)
    assert verdict(one) != verdict(settle(two))
    assert one.session_state["_results"].keys().isdisjoint(two.session_state["_results"].keys())


def test_a_model_without_weights_says_so_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    import torch

    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    at = app()
    at.query_params["model"] = "ResNet-18, ImageNet"
    at = at.switch_page("pages/attack.py")
    for _ in range(100):
        at.run()
        if at.error:
            break
        time.sleep(0.1)
    assert re.search(r"fetched once \(45 MB\).*bundled model", at.error[0].value)


def test_the_newest_request_wins_and_cancel_stops() -> None:
    """Work that nobody waits for any more ends at its next report: all have cancelled it, or asked for another."""
    work = jobs.Work("x")
    work.jobs = [jobs.Job(1, work), jobs.Job(1, work)]
    work.progress.part(0.5, 1.0, "mnist/softmax").tell(0.0, "loading the model")
    assert work.share == 0.5
    assert work.message == "Softmax regression, loading the model"
    work.jobs[0].let_go()
    work.progress.tell(0.6)
    work.jobs[1].let_go()
    with pytest.raises(Cancelled):
        work.progress.tell(0.7)


def test_a_job_that_nobody_watches_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    work = jobs.Work("x")
    work.jobs = [jobs.Job(1, work)]
    assert not work.cancelled()
    monkeypatch.setattr(jobs, "UNWATCHED", -1.0)
    assert work.cancelled()


def test_a_job_whose_browser_has_gone_ends_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    here = [True]
    monkeypatch.setattr(jobs, "_is_here", lambda session: here[0])
    monkeypatch.setattr(jobs, "GONE", 0.05)
    work = jobs.Work("x")
    work.jobs = [jobs.Job(1, work)]
    here[0] = False
    assert not work.cancelled(), "a connection may be lost for a moment"
    here[0] = True
    assert not work.cancelled()
    here[0] = False
    work.cancelled()
    time.sleep(0.1)
    assert work.cancelled()


def test_a_device_that_is_not_here_is_one_sentence_on_every_page(monkeypatch):
    monkeypatch.setattr(devices, "_chosen", None)
    monkeypatch.setenv("LAB_DEVICE", "cuda:99")
    at = AppTest.from_file("../../app.py", default_timeout=60).run()
    assert not at.exception
    assert [e.value for e in at.error] == ["There is no device 'cuda:99' here: LAB_DEVICE and --device take cpu."]
