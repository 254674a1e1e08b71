"""An experiment that is measured by its id, its figures, and the one way to run and keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from lab import devices
from lab.data import load_data
from lab.images import Images
from lab.models.catalog import load_model
from lab.progress import SILENT, Cancelled, Progress
from lab.statistics import wilson
from lab.store import Key, Store, Stored, code_digest, everything, images_digest, shipped, weights_digest
from lab.types import DataError, LabError


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        what: what was measured, in words that are unique in the experiment.
        value: a share, or a length.
        low: lower end of its 95% interval, where it is a share.
        high: upper end.
        n: how many images it was measured on, where it is a share.
        reported: the paper's figure, where it has one.
    """

    what: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    reported: float | None = None


def share_of(what: str, hits: Tensor, reported: float | None = None) -> Figure:
    """The figure that is the share of True in a tensor of bool [N], with its interval."""
    low, high = wilson(int(hits.sum()), len(hits))
    return Figure(what, float(hits.double().mean()), low, high, len(hits), reported)


@dataclass(frozen=True)
class Details:
    """What an experiment tells beside its figures, as JSON can hold it."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Bench:
    """What an experiment is measured with.

    Attributes:
        quick: whether few images are to do.
        seed: of the random numbers.
        progress: hears how far the work is.
    """

    quick: bool = False
    seed: int = 0
    progress: Progress = SILENT

    def images(self, dataset: str, split: str, start: int, stop: int) -> Images:
        """Some images of a data set; in a quick run a tenth of them, at least 20.

        Raises:
            DataError: where the official files are needed and are not there.
        """
        count = stop - start
        return load_data(dataset, split).rows(slice(start, start + (max(20, count // 10) if self.quick else count)))


@dataclass(frozen=True)
class Experiment:
    """Something that is measured.

    Attributes:
        id: by which it is asked for.
        title: what it measures, in a line.
        source: the paper, or whose figures these are.
        measure: yields figures, and details if there are any.
        models: keys of the models that it rests on.
        data: data sets and splits that it rests on.
        seed: of its random numbers.
    """

    id: str
    title: str
    source: str
    measure: Callable[[Bench], Iterator[Figure | Details]]
    models: tuple[str, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    seed: int = 0

    @property
    def official(self) -> bool:
        """Whether the official files of a data set are needed."""
        return any(split.startswith("official") for _, split in self.data)

    @property
    def code(self) -> str:
        """The digest of the code that measures it."""
        return code_digest(getattr(self.measure, "func", self.measure).__module__)

    def key(self, quick: bool = False) -> Key:
        """What its result rests on.

        Raises:
            DataError: where the images are not there.
            ModelError: where a model is not there.
        """
        images = {}
        for dataset, split in self.data:
            data = load_data(dataset, split)
            images[f"{dataset} {split}"] = images_digest(data.x, data.y)
        return Key(
            experiment=self.id,
            params={"quick": True} if quick else {},
            seed=self.seed,
            models={key: weights_digest(load_model(key)) for key in self.models},
            images=images,
            code=self.code,
        )


@dataclass(frozen=True)
class Reproduction:
    """The figures of an experiment, as far as they were measured, with all that they rest on.

    Attributes:
        experiment: what was measured.
        figures: in the order of the measurement.
        details: what was told beside them.
        quick: whether few images had to do.
        complete: whether all was measured.
    """

    experiment: Experiment
    figures: tuple[Figure, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False
    complete: bool = False

    @property
    def command(self) -> str:
        """What measures it again."""
        data = "LAB_DATA=FOLDER " if self.experiment.official else ""
        return f"{data}lab reproduce {self.experiment.id}{' --quick' if self.quick else ''}"

    def record(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "title": self.experiment.title,
            "source": self.experiment.source,
            "quick": self.quick,
            "complete": self.complete,
            "figures": self.rows(),
            **({"details": dict(self.details)} if self.details else {}),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The figures."""
        return [asdict(figure) for figure in self.figures]


def reproduce(
    experiment: Experiment,
    *,
    quick: bool = False,
    again: bool = False,
    store: Store | None = None,
    progress: Progress = SILENT,
) -> Iterator[Reproduction]:
    """The figures of an experiment, one more each time: from the store where it has them, else measured and kept there.

    Args:
        experiment: what is measured.
        quick: whether few images are to do.
        again: measures even what the store has.
        store: where results are looked for and kept; None for the person's own, and those that come with the lab.
        progress: hears how far the work is; where it stops the work, the last reproduction is not complete.

    Raises:
        LabError: where a model or data are not there.
    """
    store = everything() if store is None else store
    key = experiment.key(quick)
    kept = None if again else store.find(key)
    if kept is not None and kept.complete:
        yield stored_reproduction(experiment, kept)
        return
    done = Reproduction(experiment, quick=quick)
    try:
        measuring = experiment.measure(Bench(quick, experiment.seed, progress))
        while (each := _measured(measuring)) is not None:
            if isinstance(each, Details):
                done = replace(done, details={**done.details, **each.values})
            else:
                done = replace(done, figures=(*done.figures, each))
            yield done
    except Cancelled:
        yield done
        return
    done = replace(done, complete=True)
    store.keep(Stored.now(key, done.record(), done.command))
    yield done


@devices.full_precision()
def _measured(measuring: Iterator[Figure | Details]) -> Figure | Details | None:
    """The next thing that is measured, in full precision: gradients, too."""
    return next(measuring, None)


def stored_reproduction(experiment: Experiment, stored: Stored) -> Reproduction:
    """A reproduction as it was kept."""
    record = stored.record
    figures = tuple(Figure(**figure) for figure in record["figures"])
    return Reproduction(experiment, figures, record.get("details", {}), record["quick"], record["complete"])


def published(id: str, store: Store | None = None) -> Mapping[str, Figure]:
    """The figures of an experiment that come with the lab, by what they say; what pages and README quote.

    Args:
        id: of the experiment.
        store: where they lie; None for what comes with the lab.

    Raises:
        DataError: where none were kept.
    """
    return {figure["what"]: Figure(**figure) for figure in _kept(id, store).record["figures"]}


def provenance(id: str, store: Store | None = None) -> str:
    """On what the figures of an experiment that come with the lab were measured, and when; arguments as of `published`.

    Raises:
        DataError: where none were kept.
    """
    kept = _kept(id, store)
    return f"measured on {kept.device}, {kept.date[:10]}"


def _kept(id: str, store: Store | None) -> Stored:
    kept = [s for s in (store or shipped()).of(id) if s.complete and not s.record["quick"]]
    if not kept:
        raise DataError(f"no figures of '{id}' come with the lab: measure them by lab reproduce {id} --ship")
    return kept[0]


def state(experiment: Experiment, store: Store, quick: bool = False) -> str:
    """Whether the store has the figures of an experiment, and whether they still rest on what is here now.

    Returns:
        "measured"; "stale: weights, code" with what has changed since; "not measured"; or why that cannot be told.
    """
    kept = [s for s in store.of(experiment.id) if bool(s.record.get("quick")) == quick and s.complete]
    if not kept:
        return "not measured"
    try:
        key = experiment.key(quick)
    except LabError as e:
        return f"measured on {kept[0].date[:10]}; not checked: {e}"
    changes = min((s.key.differs(key) for s in kept), key=len)
    return f"stale: {', '.join(changes)}" if changes else "measured"
