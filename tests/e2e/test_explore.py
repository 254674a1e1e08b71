"""Looking around before anything is run: pictures to click, a digit to draw, two pictures over one another."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor

pytestmark = pytest.mark.e2e
DIGITS = "/attack?model=Convolutional+net%2C+MNIST"


def test_a_picture_is_chosen_by_looking_and_seen_before_anything_is_run(visit: Visitor) -> None:
    page = visit.open(DIGITS)
    before = visit.verdict()
    page.locator(".st-key-look button").click()
    first = page.locator(".gallery button").first
    zero = first.inner_text()
    page.get_by_role("dialog").get_by_text("7", exact=True).first.click()
    expect(first).not_to_have_text(zero)
    number = first.inner_text().strip()
    first.click()
    expect(page.locator(".st-key-mnist_image input")).to_have_value(number)
    expect(page.locator(".st-key-preview")).to_contain_text("7 ")
    assert visit.verdict() == before
    expect(page.locator("[data-testid=stMain]")).to_contain_text("the result below belongs to the previous ones")
    assert f"mnist_image={number}" in page.url


def test_a_digit_is_drawn_and_read(visit: Visitor) -> None:
    page = visit.open(DIGITS)
    page.locator(".st-key-source button", has_text="Draw").click()
    canvas = page.locator("canvas")
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 70, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 45, steps=8)
    page.mouse.move(box["x"] + 100, box["y"] + 190, steps=8)
    page.mouse.up()
    expect(page.locator(".st-key-preview")).to_contain_text("7 ", timeout=20_000)
    page.get_by_role("button", name="Run the attack").click()
    expect(page.locator(".st-key-result h3")).to_contain_text("where it saw 7", timeout=60_000)
    visit.rest()


def test_two_pictures_are_wiped_blinked_and_zoomed_together(visit: Visitor) -> None:
    page = visit.open(DIGITS)
    viewer = page.locator(".st-key-pictures .viewer")
    expect(viewer.locator(".tiles figure")).to_have_count(3)
    widths = viewer.locator(".tiles img").evaluate_all("all => all.map(i => i.getBoundingClientRect().width)")
    assert min(widths) > 250, "three pictures fill the width"
    viewer.get_by_role("button", name="Wipe").click()
    expect(viewer.locator(".tiles figure")).to_have_count(2)
    expect(viewer.get_by_role("slider", name="Where one picture ends")).to_be_visible()
    viewer.get_by_role("button", name="Larger").click()
    scales = viewer.locator(".tiles img").evaluate_all("all => all.map(i => i.style.transform.split(')')[0])")
    assert scales == ["scale(2"] * 3
    viewer.get_by_role("button", name="Blink").click()
    title = viewer.locator("figcaption").first
    expect(title).to_have_text("Adversarial")
    expect(title).to_have_text("Clean")


def test_a_small_screen_has_the_two_that_are_compared_side_by_side(visit: Visitor) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open(DIGITS)
    shown = page.locator(".st-key-pictures .tiles img")
    shown.nth(1).wait_for()
    boxes = shown.evaluate_all("all => all.map(i => i.getBoundingClientRect()).map(r => [r.x, r.y, r.width])")
    (x, y, width), (other_x, other_y, other_width), *_ = boxes
    assert y == other_y
    assert other_x > x + width
    assert width == other_width > 150


def test_run_stays_in_reach_on_a_telephone(visit: Visitor) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open("/attack?model=Convolutional+net%2C+MNIST")
    page.locator("[data-testid=stExpandSidebarButton]").click()
    run = page.locator(".st-key-run button")
    expect(run).to_be_in_viewport(ratio=1)
    page.locator(".st-key-seed").scroll_into_view_if_needed()
    expect(run).to_be_in_viewport(ratio=1)


def test_pictures_stand_in_pairs_and_a_matrix_can_be_read_on_a_telephone(visit: Visitor) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open("/defenses")
    columns = page.locator(".st-key-tiles > div")
    boxes = [columns.nth(k).bounding_box() for k in range(4)]
    assert all(boxes)
    tops, lefts = [{round(b[side]) for b in boxes if b} for side in ("y", "x")]
    assert len(tops) == len(lefts) == 2
    page = visit.open("/transfer")
    matrix = page.locator(".st-key-matrix")
    matrix.locator(".plot-container").wait_for()
    box = matrix.bounding_box()
    assert box is not None
    assert box["width"] > 700, "every cell has room for its numbers"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_large_type_enlarges_text_and_charts(visit: Visitor) -> None:
    page = visit.open("/attack?model=Convolutional+net%2C+MNIST&large=true")
    sizes = "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
    chart = page.locator(".st-key-top5")
    chart.locator("text").first.wait_for()
    assert min(chart.locator("text").evaluate_all(sizes)) >= 18
    assert min(page.locator(".st-key-result p").evaluate_all(sizes)) >= 18
    before = visit.verdict()
    page.locator(".st-key-large label").first.click()
    visit.rest()
    assert "large=true" not in page.url
    assert max(page.locator(".st-key-result [data-testid=stCaptionContainer] p").evaluate_all(sizes)) < 18
    assert visit.verdict() == before


def test_a_size_is_set_by_its_share_of_one(visit: Visitor) -> None:
    page = visit.open(DIGITS)
    field = page.locator(".st-key-_eps_unit input")
    field.fill("0.2")
    field.press("Enter")
    visit.rest()
    expect(page.locator(".st-key-eps input")).to_have_value("51")
    expect(page.locator(".st-key-_eps_slide")).to_contain_text("51/255")
    assert "eps=51" in page.url


def test_a_link_holds_the_open_tab(visit: Visitor) -> None:
    page = visit.open(DIGITS)
    page.get_by_role("tab", name="Perturbation").click()
    visit.rest()
    assert "attack_tabs=Perturbation" in page.url
    page.goto(page.url)
    page.locator(".st-key-result h3").wait_for(timeout=60_000)
    visit.rest()
    expect(page.get_by_role("tab", selected=True)).to_have_text("Perturbation")
