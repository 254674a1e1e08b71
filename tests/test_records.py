"""Records as JSON: nothing that JSON has no word for."""

import json
import math

import numpy as np
import pytest

from lab.records import as_json, finite


def test_a_number_that_is_not_finite_is_null_however_deep():
    record = {"a": math.inf, "b": [1.5, math.nan, {"c": (-math.inf, 2)}], "d": "inf", "e": None, "f": True}
    assert json.loads(as_json(record)) == {
        "a": None,
        "b": [1.5, None, {"c": [None, 2]}],
        "d": "inf",
        "e": None,
        "f": True,
    }
    assert finite(np.float64("nan")) is None


def test_what_is_no_json_is_refused():
    with pytest.raises(TypeError):
        as_json({"x": object()})
