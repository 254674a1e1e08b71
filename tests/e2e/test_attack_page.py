"""The Attack page in real Chromium, on the bundled cat with EfficientNet-Lite0."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, expect

import lab
from lab.figures.pictures import amplify
from lab.images import bytes_of
from tests.support.browser import Visitor, pixels

pytestmark = pytest.mark.e2e
CAT = "/attack?image=Tabby+cat&attack=FGSM&eps=8%2F255&target=espresso"


@pytest.fixture(scope="module")
def expected() -> tuple[torch.Tensor, lab.Result, tuple[str, ...]]:
    model = lab.load_model("imagenet/efficientnet_lite0")
    x = lab.load_picture("cat", model.card)
    return x, lab.attack("fgsm", model, x, model(x).argmax(1), target=967, eps="8/255"), model.card.classes


def test_the_first_visit_by_a_link_finds_the_whole_app(visit: Visitor) -> None:
    """First in this module: a new server runs the page without app.py unless the page sees to it."""
    page = visit.open(CAT)
    expect(page.locator("[data-testid=stSidebarNavLink]")).to_contain_text(["Overview", "Attack", "Compare", "Repr"])


def test_every_picture_equals_its_array(visit: Visitor, expected: tuple[torch.Tensor, lab.Result, tuple]) -> None:
    x, result, classes = expected
    page = visit.open(CAT)
    now = classes[int(result.predictions[0])]
    assert f"{now} ({result.confidence[0]:.0%})" in visit.verdict() or "still sees" in visit.verdict()
    for alt, array in (
        ("Clean", x[0]),
        ("Perturbation", amplify(result.x[0] - x[0])[0]),
        ("Adversarial", result.x[0]),
    ):
        assert (pixels(page, alt) == bytes_of(array).numpy()).all(), alt


def test_the_downloads_hold_the_result(visit: Visitor, expected: tuple[torch.Tensor, lab.Result, tuple]) -> None:
    _, result, _ = expected
    page = visit.open(CAT)
    page.get_by_role("tab", name="Take away").click()
    visit.rest()
    files = {}
    for key in ("png", "npz", "json"):
        with page.expect_download() as held:
            page.locator(f".st-key-attack_{key} button").click()
        files[key] = held.value.path()
    assert (np.asarray(Image.open(files["png"])) == bytes_of(result.x[0]).numpy()).all()
    with np.load(files["npz"], allow_pickle=False) as arrays:
        assert (arrays["attacked"] == result.x[0].numpy()).all()
    told = json.loads(files["json"].read_text())
    assert told["result"]["attacked"]["class"] == int(result.predictions[0])


def test_the_player_scrubs_by_mouse_and_keyboard_without_the_server(visit: Visitor) -> None:
    page = visit.open("/attack?image=Tabby+cat&steps=4")
    player = page.locator(".st-key-player")
    slider, told = player.locator("input[type=range]"), player.locator("output")
    slider.wait_for()
    box = player.bounding_box()
    assert box is not None
    assert box["height"] < 600, "the player fits on a screen 900 pixels high, with the tabs above it"

    def pictures() -> list[str]:
        return player.locator("img").evaluate_all("all => all.map(i => i.src)")

    last = pictures()
    expect(told).to_contain_text("Iteration 4:")
    visit.context.set_offline(True)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(told).to_contain_text("Iteration 3:")
    assert all(now != then for now, then in zip(pictures(), last, strict=True))
    page.keyboard.press("Space")
    expect(player.get_by_role("button")).to_have_text("Stop")
    expect(told).to_contain_text("Iteration 4:")
    expect(player.get_by_role("button")).to_have_text("Play")
    assert pictures() == last
    player.locator(".area").first.click(position={"x": 1, "y": 20})
    expect(told).to_contain_text("Iteration 0:")


def test_player_line_and_maps_show_the_same_iteration(visit: Visitor) -> None:
    page = visit.open("/attack?image=Tabby+cat&steps=4")
    told = page.locator(".st-key-player output")
    page.locator(".st-key-player input[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(told).to_contain_text("Iteration 2:")
    page.wait_for_timeout(1500)  # the player tells where it was left
    page.get_by_role("tab", name="Epsilon").click()
    line = page.locator(".st-key-line")
    expect(line).to_contain_text("iteration 2", timeout=60_000)
    visit.rest()
    triangle = line.locator(".points path.point").nth(3)
    triangle.scroll_into_view_if_needed()
    box = triangle.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + 1)
    expect(line).to_contain_text("iteration 3", timeout=60_000)
    page.get_by_role("tab", name="Iterations").click()
    expect(told).to_contain_text("Iteration 3:", timeout=60_000)
    page.locator("[data-testid=stSidebarNavLink]", has_text="Representations").click()
    page.get_by_role("tab", name="Feature maps").click()
    expect(page.locator(".st-key-result")).to_contain_text("By iteration 3 the attack has changed", timeout=60_000)


def test_back_takes_one_press_and_brings_the_settings_and_the_tab(visit: Visitor) -> None:
    page = visit.open("/attack?model=Convolutional+net%2C+MNIST")
    slider = page.locator(".st-key-_eps_slide input, .st-key-_eps_slide [role=slider]").first
    slider.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        visit.rest()
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator(".st-key-result")).to_contain_text("Code:", timeout=30_000)  # the server has heard of it
    visit.rest()
    left = page.url
    assert "eps=" in left
    page.locator("[data-testid=stSidebarNavLink]", has_text="Overview").click()
    page.get_by_role("heading", name="Adversarial robustness lab").wait_for()
    visit.rest()
    page.go_back()
    page.locator(".st-key-result h3").wait_for()
    visit.rest()
    assert page.url == left
    expect(page.get_by_role("tab", selected=True)).to_have_text("How it works")
    assert page.locator(".st-key-eps input").input_value() in ("89", "102")
    assert page.locator(".st-key-_eps_unit input").input_value() in ("0.349", "0.4")


def test_an_attack_goes_to_the_compare_page_as_it_is(visit: Visitor, browser: Browser, server: str) -> None:
    page = visit.open("/attack?model=Convolutional+net%2C+MNIST&attack=PGD&eps=64%2F255&mnist_image=4")
    verdict = visit.verdict()
    page.locator(".st-key-compare a").click()
    page.locator(".st-key-result h4").first.wait_for()
    visit.rest()
    told = page.locator(".st-key-result h4").all_inner_texts()
    assert told[0] == f"A: {verdict}"
    other = Visitor(browser, server)
    other.page.goto(page.url)
    other.page.locator(".st-key-result h4").first.wait_for(timeout=60_000)
    other.rest()
    assert other.page.locator(".st-key-result h4").all_inner_texts() == told
    other.context.close()
    assert not other.errors


def test_settings_travel_in_the_link(visit: Visitor, browser: Browser, server: str) -> None:
    page = visit.open("/attack?model=Convolutional+net%2C+MNIST&attack=PGD")
    before = visit.verdict()
    slider = page.locator(".st-key-_eps_slide input, .st-key-_eps_slide [role=slider]").first
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(300)
        visit.rest()
    assert visit.verdict() == before
    page.get_by_role("button", name="Run the attack").click()
    page.wait_for_function("t => document.querySelector('.st-key-result h3')?.innerText !== t", arg=before)
    visit.rest()
    assert "eps=" in page.url
    other = Visitor(browser, server)
    other.open(page.url.removeprefix(server))
    assert other.verdict() == visit.verdict() != before
    other.context.close()


def test_two_visitors_do_not_see_each_other(visit: Visitor, browser: Browser, server: str) -> None:
    visit.open("/attack?model=Convolutional+net%2C+MNIST")
    before = visit.verdict()
    other = Visitor(browser, server)
    other.open("/attack?model=Convolutional+net%2C+Fashion-MNIST")
    assert other.verdict() != before
    visit.page.get_by_role("tab", name="How it works").click()
    visit.rest()
    assert visit.verdict() == before
    other.context.close()


def test_a_long_attack_can_be_stopped(visit: Visitor) -> None:
    page = visit.page
    page.goto(f"{visit.server}/attack?attack=PGD&steps=100")
    page.get_by_role("button", name="Cancel").click(timeout=60_000)
    page.get_by_text("stopped before its last iteration").wait_for(timeout=60_000)
    visit.rest()


def test_a_long_attack_shows_its_picture_and_margin_as_it_goes(visit: Visitor) -> None:
    page = visit.page
    page.goto(visit.server + "/attack?image=Tabby+cat&attack=Carlini-Wagner+%28L2%29")
    working = page.locator(".st-key-at_work")
    expect(working).to_contain_text("At iteration", timeout=120_000)
    expect(working.locator(".st-key-at_work_margin .plot-container")).to_be_visible(timeout=60_000)
    title = working.locator(".st-key-at_work_pictures figcaption").nth(1)
    first = title.inner_text()
    expect(title).not_to_have_text(first, timeout=60_000)
    page.locator(".st-key-cancel_attack button").click()
    visit.rest()
    expect(page.locator(".st-key-result")).to_contain_text("stopped", timeout=60_000)


def test_a_bad_upload_is_told_and_the_result_stays(visit: Visitor) -> None:
    page = visit.open("/attack?model=Convolutional+net%2C+MNIST")
    before = visit.verdict()
    page.locator(".st-key-source").get_by_text("Upload").click()
    visit.rest()
    bad = {"name": "picture.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.locator(".st-key-upload input[type=file]").set_input_files(bad)
    page.get_by_text("The file is not a picture that can be read").wait_for()
    visit.rest()
    assert visit.verdict() == before


def test_a_photograph_from_the_camera_is_attacked(visit: Visitor) -> None:
    page = visit.open("/attack?attack=FGSM")
    before = pixels(page, "Clean")
    page.locator(".st-key-source").get_by_text("Camera").click()
    visit.rest()
    page.wait_for_function("document.querySelector('.st-key-camera video')?.readyState === 4")
    page.get_by_role("button", name="Take Photo").click()
    page.get_by_role("button", name="Clear photo").wait_for()
    visit.rest()
    told = visit.verdict()
    page.get_by_role("button", name="Run the attack").click()
    page.wait_for_function("t => document.querySelector('.st-key-result h3')?.innerText !== t", arg=told)
    visit.rest()
    assert (pixels(page, "Clean") != before).any()


@pytest.mark.parametrize("path", ["/", "/attack", "/compare"])
@pytest.mark.parametrize("width", [390, 1920])
def test_no_page_is_wider_than_the_screen(browser: Browser, server: str, path: str, width: int) -> None:
    visitor = Visitor(browser, server, width)
    page = visitor.open(path)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
    visitor.context.close()
    assert not visitor.errors
