"""The tables of Szegedy et al. 2013: the figures of the paper, and those measured with the lab.

`REPORTED` and `load().tables` have the same form and the same names, so that they can be shown side by side. Errors are
in percent. `lab reproduce szegedy` measures and writes what `load` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lab.store import SHIPPED, read
from lab.types import DataError

STORED = SHIPPED / "szegedy.json"
"""The measured tables."""
CLEAN = "clean images"
"""The row of errors on images that nobody changed."""
NOISE = {0.1: "Gaussian noise, 0.1", 0.3: "Gaussian noise, 0.3"}
"""The rows of errors on images with Gaussian noise, by its standard deviation."""


@dataclass(frozen=True)
class Net:
    """A row of table 1.

    Attributes:
        name: the units of each layer, with the weight decay where that tells nets apart.
        train_error: share of the training images classified wrong, in percent.
        test_error: share of the test images classified wrong, in percent.
        distortion: root mean square change of a pixel in the smallest perturbation, averaged over the images fooled.
        success: share of the images that were brought to their target, in percent; None where that is not reported.

    Raises:
        DataError: for a share that is none, or a distortion that no picture can have.
    """

    name: str
    train_error: float
    test_error: float
    distortion: float
    success: float | None = None

    def __post_init__(self) -> None:
        shares = (self.train_error, self.test_error, 0.0 if self.success is None else self.success)
        if not all(0 <= share <= 100 for share in shares) or not 0 < self.distortion <= 1:
            raise DataError(f"the net {self.name} has a share outside 0 to 100, or a distortion outside 0 to 1")


@dataclass(frozen=True)
class Errors:
    """Errors of nets on changed images: tables 2 to 4.

    Attributes:
        rows: the nets that the images were made for, or what was done to the images instead.
        columns: the nets that they were shown to.
        percent: share of the images that the column's net classifies wrong, [row][column]; None where not known.
        note: what no single cell can say.

    Raises:
        DataError: for cells that do not fit the names, or are no shares.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    percent: tuple[tuple[float | None, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.percent) != len(self.rows) or any(len(row) != len(self.columns) for row in self.percent):
            raise DataError(
                f"the errors must be {len(self.rows)} rows of {len(self.columns)} cells, as there are names"
            )
        if not all(cell is None or 0 <= cell <= 100 for row in self.percent for cell in row):
            raise DataError("errors must lie between 0 and 100 percent")

    def at(self, row: str, column: str) -> float | None:
        """The error of a column's net on a row's images; None where it is not known.

        Raises:
            DataError: for a name that is not there.
        """
        if row not in self.rows or column not in self.columns:
            raise DataError(f"there is no error of '{column}' on '{row}'")
        return self.percent[self.rows.index(row)][self.columns.index(column)]


@dataclass(frozen=True)
class Tables:
    """Tables 1 to 4.

    Attributes:
        nets: table 1, training and smallest perturbations.
        transfer: table 2, between nets trained on the same images.
        halves: table 3, between nets trained on two halves of the training images that share none.
        amplified: table 4, the same perturbations with a root mean square of 0.1.
    """

    nets: tuple[Net, ...]
    transfer: Errors
    halves: Errors
    amplified: Errors


@dataclass(frozen=True)
class Measured:
    """The tables as the lab measured them.

    Attributes:
        tables: the figures.
        n: number of test images that were attacked for each net, and that noise was added to.
        epochs: how often the nets saw their training images: those without hidden layers, and those with.
        steps: of the attack for each weight of the loss.
        searches: how many weights of the loss the attack tried.
        seed: of the random numbers; net number k starts from seed + k.
        command: what measures them again.
        torch: its version.
    """

    tables: Tables
    n: int
    epochs: tuple[int, int]
    steps: int
    searches: int
    seed: int
    command: str
    torch: str


def load(path: Path = STORED) -> Measured:
    """The stored measurements.

    Raises:
        DataError: for a file that is absent, or does not hold such tables.
    """
    try:
        stored = read(path)
        if stored is None:
            raise DataError(f"{path} holds no stored result: run lab reproduce szegedy")
        rest = {"seed": stored.key.seed, "command": stored.command, "torch": stored.versions["torch"]}
        values = _known(Measured, {**stored.record["details"], **rest})
        tables = _known(Tables, values.pop("tables"))
        nets = tuple(Net(**_known(Net, net)) for net in tables.pop("nets"))
        errors = {name: _errors(table) for name, table in tables.items()}
        return Measured(Tables(nets, **errors), epochs=tuple(values.pop("epochs")), **values)
    except DataError:
        raise
    except (ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path} does not hold the measured tables ({e}): run lab reproduce szegedy") from e


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass, none missing."""
    return {field.name: values[field.name] for field in fields(kind)}


def _errors(table: Mapping[str, Any]) -> Errors:
    known = _known(Errors, table)
    cells = tuple(tuple(row) for row in known["percent"])
    return Errors(tuple(known["rows"]), tuple(known["columns"]), cells, known["note"])


_NETS = ("FC10(1e-4)", "FC10(1e-2)", "FC10(1)", "FC100-100-10", "FC200-200-10")
_HALVES = ("FC100-100-10", "FC123-456-10", "FC100-100-10'")

REPORTED = Tables(
    nets=(
        Net("FC10(1e-4)", 6.7, 7.4, 0.062),
        Net("FC10(1e-2)", 10, 9.4, 0.10),
        Net("FC10(1)", 21.2, 20, 0.14),
        Net("FC100-100-10", 0, 1.64, 0.058),
        Net("FC200-200-10", 0, 1.54, 0.065),
    ),
    transfer=Errors(
        rows=(*_NETS, *NOISE.values()),
        columns=_NETS,
        percent=(
            (100, None, None, 2, None),
            (87.1, None, None, 35.9, None),
            (71.9, None, None, 48.1, None),
            (28.9, None, None, 100, None),
            (38.2, None, None, 20.3, None),
            (5.0, None, None, 0, None),
            (15.6, None, None, 5, None),
        ),
    ),
    halves=Errors(
        rows=_HALVES[:1],
        columns=_HALVES,
        percent=((None, 26.2, 5.9),),
        note="With Gaussian noise of standard deviation 0.1, the three nets misclassify 2.6 to 2.8%.",
    ),
    amplified=Errors(rows=_HALVES[:1], columns=_HALVES, percent=((None, 98, 43),)),
)
"""The paper's figures.

Source: a text that restates the paper; cells that it does not confirm are None.
Deviation: AE400-10, the sparse autoencoder, is left out, as it was not measured.
"""
