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
