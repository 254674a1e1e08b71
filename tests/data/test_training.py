"""The images that a net of one's own is trained and measured on."""

import pytest
import torch

from lab.data import load_data
from lab.data.training import BUNDLED, OFFICIAL, SIZES, sources, training_subset
from lab.types import DataError


@pytest.mark.parametrize("task", SIZES)
def test_bundled_images_to_train_on_and_others_to_measure_on(task, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    assert sources(task) == {BUNDLED: SIZES[task]}
    whole, few = training_subset(task), training_subset(task, count=300)
    assert (len(whole.train), len(few.train), len(few.held)) == (SIZES[task], 300, 2000)
    assert torch.equal(few.train.x, whole.train.x[:300])
    assert not set(whole.train.ids) & set(whole.held.ids)
    assert whole.train.y.bincount().min() > 0.08 * len(whole.train)
    assert torch.equal(few.held.x, load_data(task).x[:2000])
    assert "first 300 of" in few.text
    with pytest.raises(DataError, match="is missing"):
        training_subset(task, OFFICIAL)


def test_the_pages_say_that_clothes_of_the_test_file_are_trained_on():
    assert "no longer unseen" in training_subset("fashion_mnist").text


def test_there_is_nothing_to_train_on_photographs():
    with pytest.raises(DataError, match="no bundled training images of 'imagenet'"):
        training_subset("imagenet")
