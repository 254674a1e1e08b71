"""The Representations page in real Chromium, on the bundled cat with EfficientNet-Lite0."""

from __future__ import annotations

import pytest
import torch
from playwright.sync_api import expect

import lab
from lab.experiments.representations.activations import activations
from lab.figures.pictures import enlarge
from lab.figures.representations import sheet
from lab.images import bytes_of
from tests.support.browser import Visitor, pixels

pytestmark = pytest.mark.e2e
STAGE = "net._blocks.3"


def test_a_photograph_is_followed_through_the_network(visit: Visitor) -> None:
    model = lab.load_model("imagenet/efficientnet_lite0")
    x = lab.load_picture("cat", model.card)
    result = lab.attack("fgsm", model, x, model(x).argmax(1), eps="2/255")
    clean, attacked = activations(model, torch.cat([x, result.x]), [STAGE])[STAGE]
    page = visit.open("/representations?image=Tabby+cat&representations_attack=FGSM&representations_eps=2%2F255")
    expect(page.locator(".st-key-result")).to_contain_text("times larger on its way")
    expect(page.locator(".st-key-depth .plot-container")).to_be_visible()
    page.get_by_role("tab", name="Feature maps").click()
    visit.rest()
    page.locator(".st-key-representations_map_stage").get_by_role("combobox").click()
    page.get_by_role("option", name="_blocks.3 ").click()
    visit.rest()
    order = (attacked - clean).flatten(1).norm(dim=1).argsort(descending=True)[:32]
    wanted = bytes_of(enlarge(sheet(clean[order], shared=True, signed=False), 224)).numpy()
    expect(page.locator("img[alt^='Clean feature maps']")).to_have_js_property(
        "naturalWidth", wanted.shape[1], timeout=60_000
    )
    shown = pixels(page, "Clean feature maps")
    assert (
        abs(shown.astype(int) - wanted.astype(int)).max() <= 2
    )  # features computed in another batch differ by rounding
    for tab in ("Units and directions", "Attribution", "Take away"):
        page.get_by_role("tab", name=tab).click()
        visit.rest()
    expect(page.locator(".st-key-result")).to_contain_text(
        "from lab.experiments.representations.activations import depth"
    )
