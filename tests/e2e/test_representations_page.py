"""The Representations page in real Chromium, on the bundled cat with EfficientNet-Lite0."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

import lab
from lab.experiments.representations.activations import activations
from lab.figures.pictures import enlarge
from lab.figures.representations import pictures_of
from lab.images import bytes_of
from lab.ui.parts.gallery import THUMB
from tests.support.browser import Visitor

pytestmark = pytest.mark.e2e
STAGE = "net._blocks.3"


def test_a_photograph_is_followed_through_the_network(visit: Visitor) -> None:
    model = lab.load_model("imagenet/efficientnet_lite0")
    x = lab.load_picture("cat", model.card)
    result = lab.attack("fgsm", model, x, model(x).argmax(1), eps="2/255")
    clean, attacked = activations(model, torch.cat([x, result.x]), [STAGE])[STAGE]
    page = visit.open("/representations?image=Tabby+cat&attack=FGSM&eps=2")
    expect(page.locator(".st-key-result")).to_contain_text("times larger on its way")
    expect(page.locator(".st-key-depth .plot-container")).to_be_visible()
    page.get_by_role("tab", name="Feature maps").click()
    visit.rest()
    page.locator(".st-key-representations_map_stage").get_by_role("combobox").click()
    page.get_by_role("option", name="_blocks.3 ").click()
    visit.rest()
    order = (attacked - clean).flatten(1).norm(dim=1).argsort(descending=True)[:32]
    ends = float(min(clean.min(), attacked.min())), float(max(clean.max(), attacked.max()))
    wanted = pictures_of(attacked[order], shared=True, signed=False, ends=ends)
    maps = page.locator(".st-key-maps .gallery button")
    expect(maps).to_have_count(32, timeout=60_000)
    for k in (0, 5):  # the stage before had as many
        expect(maps.nth(k)).to_contain_text(f"map {int(order[k])}:", timeout=60_000)
    for k in (0, 5):
        source = maps.nth(k).locator("img").evaluate("i => i.src")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))
        expected = bytes_of(enlarge(wanted[k], THUMB)).numpy()
        # features computed in another batch differ by rounding
        assert abs(shown.astype(int) - expected.astype(int)).max() <= 2
    maps.nth(5).click()
    expect(page.locator(".st-key-result")).to_contain_text(f"The attack changes map {int(order[5])} by")
    assert f"representations_channel=map+{int(order[5])}" in page.url
    for tab in ("Units and directions", "Attribution", "Take away"):
        page.get_by_role("tab", name=tab).click()
        visit.rest()
    expect(page.locator(".st-key-result")).to_contain_text(
        "from lab.experiments.representations.activations import depth"
    )
