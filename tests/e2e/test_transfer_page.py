"""The Transfer and the Black box page in real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor

pytestmark = pytest.mark.e2e


def test_a_click_on_a_cell_shows_the_images_behind_it(visit: Visitor) -> None:
    page = visit.open("/transfer?transfer_count=20&transfer_steps=3")
    result = page.locator(".st-key-result")
    expect(result).to_contain_text("that all of these models classify correctly count, ", timeout=90_000)
    visit.rest()
    box = page.locator(".st-key-matrix .nsewdrag").first.bounding_box()
    assert box is not None
    cells = page.locator(".st-key-matrix .annotation-text").count()
    size = round(cells**0.5)
    assert cells == size * size >= 9
    # made on the last model, shown to the first
    page.mouse.click(box["x"] + box["width"] * 0.5 / size, box["y"] + box["height"] * (size - 0.5) / size)
    expect(page.get_by_role("combobox", name="Made on")).to_have_value(
        "Convolutional net, adversarially trained with PGD", timeout=30_000
    )
    expect(page.get_by_role("combobox", name="Shown to")).to_have_value("Softmax regression")
    expect(page.get_by_text("what Softmax regression sees")).to_be_visible()
    visit.rest()
    assert visit.errors == []


def test_a_stopped_copy_keeps_its_rounds(visit: Visitor) -> None:
    page = visit.page
    page.goto(visit.server + "/blackbox?blackbox_epochs=100&blackbox_optimiser=Adam&blackbox_tests=100")
    live = page.locator(".st-key-so_far")
    expect(live).to_contain_text("labels", timeout=90_000)
    page.locator(".st-key-working_blackbox").get_by_role("button", name="Cancel").click()
    result = page.locator(".st-key-result")
    expect(result).to_contain_text("labels the copy agrees with", timeout=90_000)
    expect(page.get_by_text("Stopped: copying")).to_be_visible()
    assert visit.errors == []
