"""The tables of Szegedy et al.: what the stored measurements show, and that damaged ones are refused."""

import json

import pytest

from lab.experiments.transfer.szegedy import CLEAN, NOISE, REPORTED, STORED, Errors, Net, load
from lab.types import DataError

TABLES = load().tables
PAIRS = [(made, shown) for made in TABLES.halves.columns for shown in TABLES.halves.columns if made != shown]


def test_distortions_are_as_large_as_reported_and_in_the_same_order():
    measured = {net.name: net for net in TABLES.nets}
    assert list(measured) == [net.name for net in REPORTED.nets]
    order = ["FC10(1)", "FC10(1e-2)", "FC10(1e-4)", "FC100-100-10"]
    sizes = [measured[name].distortion for name in order]
    assert sizes == sorted(set(sizes), reverse=True)
    for net in REPORTED.nets:
        assert measured[net.name].distortion == pytest.approx(net.distortion, rel=0.4)
        assert measured[net.name].success == 100


def test_nets_were_trained_as_far_as_reported():
    reported = {net.name: net for net in REPORTED.nets}
    for net in TABLES.nets:
        assert net.train_error < reported[net.name].train_error + 0.5
        assert net.test_error < reported[net.name].test_error + 0.5


def test_every_reported_cell_has_a_measured_one():
    for name in ("transfer", "halves", "amplified"):
        measured, reported = getattr(TABLES, name), getattr(REPORTED, name)
        assert measured.columns == reported.columns
        assert all(measured.at(row, column) is not None for row in reported.rows for column in reported.columns)


def test_examples_fool_their_own_net():
    for table in (TABLES.transfer, TABLES.halves):
        assert all(table.at(name, name) == 100 for name in table.columns)


@pytest.mark.parametrize(("made", "shown"), PAIRS)
def test_amplified_examples_transfer_better_than_raw_ones_and_those_better_than_noise(made, shown):
    raw, amplified = TABLES.halves.at(made, shown), TABLES.amplified.at(made, shown)
    noise = TABLES.halves.at(NOISE[0.1], shown)
    assert amplified > 2 * raw
    assert raw > noise >= TABLES.halves.at(CLEAN, shown)


@pytest.mark.parametrize(
    "damage", ["no file", "no JSON", "a list", "no nets", "a row too few", "a cell too many", "140%"]
)
def test_damaged_measurements_are_refused(tmp_path, damage):
    path, found = tmp_path / "szegedy.json", json.loads(STORED.read_text(encoding="utf-8"))
    table = found["record"]["details"]["tables"]["transfer"]["percent"]
    if damage == "no nets":
        del found["record"]["details"]["tables"]["nets"]
    elif damage == "a row too few":
        table.pop()
    elif damage == "a cell too many":
        table[0].append(1.0)
    elif damage == "140%":
        table[0][0] = 140.0
    elif damage == "a list":
        found = [found]
    if damage != "no file":
        path.write_text("{" if damage == "no JSON" else json.dumps(found), encoding="utf-8")
    with pytest.raises(DataError):
        load(path)


def test_tables_refuse_what_does_not_fit():
    with pytest.raises(DataError, match="2 rows of 1 cells"):
        Errors(("a", "b"), ("c",), ((1.0,),))
    with pytest.raises(DataError, match="no error of 'x'"):
        TABLES.halves.at("FC100-100-10", "x")
    with pytest.raises(DataError, match="distortion"):
        Net("a", 1, 1, float("nan"))
