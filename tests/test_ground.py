"""What everything stands on: shares and their intervals, predictions in parts, progress and cancelling."""

import math

import pytest
import torch

from lab.predict import classes_of, logits_of
from lab.progress import Cancelled, Progress
from lab.statistics import share, wilson
from tests.support.nets import Linear, images


def test_an_interval_is_wilsons_of_95_percent():
    for hits, of in ((0, 10), (3, 10), (10, 10), (97, 200)):
        p, z = hits / of, 1.959964
        middle, width = p + z**2 / (2 * of), z * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
        expected = (middle - width) / (1 + z**2 / of), (middle + width) / (1 + z**2 / of)
        assert wilson(hits, of) == pytest.approx(expected, abs=1e-6)
    assert wilson(0, 0) == (0, 1)


def test_there_is_no_share_of_nothing():
    assert share(torch.tensor([True, False, True, True])) == 0.75
    assert share(torch.zeros(0, dtype=torch.bool)) is None


def test_all_images_are_asked_in_order_however_many_fit_at_once():
    model, x, sizes = Linear(), images(7), []

    def watched(z):
        sizes.append(len(z))
        return model(z)

    logits = logits_of(watched, x, rows=3)
    assert sizes == [3, 3, 1]
    assert torch.allclose(logits, model(x).detach(), atol=1e-5)
    assert not logits.requires_grad
    assert torch.equal(classes_of(model, x), model(x).argmax(1))


def test_a_part_of_a_part_lies_where_it_is_in_the_whole():
    heard = []
    whole = Progress(hear=lambda share, what: heard.append((round(share, 6), what)))
    half = whole.part(0.5, 1.0, "pgd")
    half.tell(0.0)
    half.part(0.5, 1.0, "cnn").tell(0.5, "image 3")
    half.tell(2.0)
    assert heard == [(0.5, ("pgd",)), (0.875, ("pgd", "cnn", "image 3")), (1.0, ("pgd",))]


def test_work_learns_that_it_is_to_stop_where_it_tells_how_far_it_is():
    heard = []
    stopped = Progress(hear=lambda share, what: heard.append(share), stop=lambda: True)
    assert stopped.cancelled
    assert stopped.part(0, 0.5).cancelled
    with pytest.raises(Cancelled):
        stopped.tell(0.3)
    assert heard == [0.3]
    with pytest.raises(Cancelled):
        stopped.check()
    with pytest.raises(Cancelled):
        logits_of(Linear(), images(2), progress=stopped)
