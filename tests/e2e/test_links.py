"""Links of old versions, in real Chromium: Streamlit sets widgets from a link only where it renewed it before."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor

pytestmark = pytest.mark.e2e


def test_an_old_link_restores_its_settings_under_their_present_names(visit: Visitor) -> None:
    page = visit.open("/robustness?s_count=20&s_steps=5&s_sizes=3&s_models_mnist=Softmax+regression&s_seed=7")
    expect(page.locator(".st-key-result")).to_contain_text("At 76.5/255", timeout=90_000)
    expect(page.get_by_role("spinbutton", name="Iterations")).to_have_value("5")
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value("7")
    assert "robustness_seed=7" in page.url
    assert "robustness_models_mnist=Softmax" in page.url
    assert not re.search(r"[?&]s_", page.url)
    visit.rest()
    assert visit.errors == []


def test_a_net_that_was_trained_and_saved_is_attacked_at_a_click(visit: Visitor) -> None:
    page = visit.open(
        "/defenses?defenses_view=Adversarial+training&training_net=Fully+connected&training_epochs=1&training_images=200"
    )
    page.get_by_role("button", name="Train", exact=True).click()
    save = page.locator(".st-key-training_save button")
    save.click(timeout=120_000)
    page.locator(".st-key-result, [data-testid=stMain]").get_by_text("Saved as").first.wait_for(timeout=120_000)
    visit.rest()
    page.locator("[data-testid=stMain] [data-testid=stPageLink] a", has_text="Attack it").click()
    page.locator(".st-key-result h3").wait_for(timeout=60_000)
    visit.rest()
    assert visit.verdict().startswith("My: ")
