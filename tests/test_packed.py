"""Results as bytes: exact, without pickle, and nothing but the lab's own records."""

from __future__ import annotations

import json
import math
import zlib
from types import MappingProxyType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.experiments.blackbox.substitute import LIGHT, Round
from lab.packed import pack, unpack
from lab.types import Access, Goal

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.tuples(st.integers()), inner)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    back = unpack(pack(value))
    assert back == value
    assert repr(back) == repr(value)  # tuples stay tuples, 1 is not 1.0


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_tensors_come_back_bit_for_bit(seed: int, counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(n, 2, 3, generator=generator) for n in counts]
    tensors += [tensors[0] + 1e-7, torch.randint(-9, 9, (counts[0], 2), generator=generator), tensors[0] > 0]
    tensors += [
        torch.tensor([math.nan, math.inf, -0.0]),
        torch.tensor(3.0),
        torch.rand(4, generator=generator).double(),
    ]
    for one, other in zip(tensors, unpack(pack(tensors)), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.numpy().tobytes() == other.numpy().tobytes()


def test_records_of_the_lab_come_back_with_their_classes() -> None:
    goal = unpack(pack({"goal": Goal(torch.tensor([3]), targeted=True), "access": Access.LABELS, "far": math.inf}))
    assert isinstance(goal["goal"], Goal)
    assert goal["goal"].labels.tolist() == [3]
    assert goal["access"] is Access.LABELS
    assert goal["far"] == math.inf
    assert unpack(pack(MappingProxyType({1: (2,)}))) == {1: (2,)}


def test_pictures_that_hardly_change_take_little() -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    frames = [x + k * 2**-8 for k in range(8)]
    assert len(pack(frames)) < 0.5 * 8 * x.numel() * 4


def test_a_round_is_kept_without_its_copy_and_with_its_newest_images() -> None:
    x = torch.rand(30, 1, 4, 4)
    whole = Round(1, torch.nn.Linear(1, 1), x, torch.arange(30), 12, 30, 0.5, True)
    light = unpack(pack(whole))
    assert light.kept is None
    assert torch.equal(light.newest(LIGHT)[0], x[18:28])
    assert light.newest(LIGHT)[1].tolist() == list(range(18, 28))
    with pytest.raises(LookupError):
        _ = light.net


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(TypeError, match="Linear"):
        pack({"net": torch.nn.Linear(1, 1)})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no result at all",
        pack([1])[:-3],
        pack([1]).replace(b"\x00", b"\x01", 1),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no result"):
        unpack(data)


@pytest.mark.parametrize(
    "name", ["os:system", "lab.images:decode", "lab.types:LabError", "lab.nothing:Here", "builtins:eval"]
)
def test_nothing_but_dataclasses_of_the_lab_is_made(name: str) -> None:
    plain = json.dumps({"$": "object", "class": name, "fields": {}}).encode()
    with pytest.raises(ValueError, match="no result"):
        unpack(len(plain).to_bytes(8, "big") + zlib.compress(plain))
