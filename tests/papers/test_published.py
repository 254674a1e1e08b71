"""What README and pages quote are figures that come with the lab, and they are quoted as they were measured."""

import re
from pathlib import Path

import pytest

from lab.experiments.papers.catalog import CATALOG
from lab.experiments.papers.experiment import published
from lab.store import shipped
from lab.types import DataError

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| (.+?) \| (.+?) \| `lab reproduce ([\w/-]+)` \|$", README, re.MULTILINE)


@pytest.mark.parametrize(("what", "figures", "id"), QUOTED, ids=[id for *_, id in QUOTED])
def test_the_readme_quotes_what_is_stored(what, figures, id):
    measured = [figure.value for figure in published(id).values()]
    quoted = re.findall(r"\d+(?:\.\d+)?", figures)
    assert quoted
    for text in quoted:
        digits = len(text.partition(".")[2])
        assert any(f"{100 * value:.{digits}f}" == text for value in measured), f"{text} of '{what}'"


def test_what_is_shipped_belongs_to_an_experiment_and_was_measured_to_its_end():
    for stored in shipped():
        assert stored.key.experiment in CATALOG
        assert stored.complete
        assert not stored.record["quick"]


def test_what_was_not_measured_is_not_quoted():
    with pytest.raises(
        DataError, match="no figures of 'none' come with the lab: measure them by lab reproduce none --ship"
    ):
        published("none")
