"""The copying of a black box for the page, in a worker."""

from __future__ import annotations

from collections.abc import Iterator

from lab.experiments.blackbox.curves import Extraction, extract
from lab.experiments.blackbox.oracle import Remote, labels_of
from lab.progress import Progress
from lab.ui.pages.blackbox.setup import Setup
from lab.ui.shell import cache

JSMA_IMAGES = 20
"""Images of which JSMA examples are made, too."""


def compute(setup: Setup, progress: Progress) -> Iterator[Extraction]:
    """The copy, round by round."""
    first, test = setup.images()
    ask = Remote(setup.oracle, len(setup.classes)) if setup.remote else labels_of(cache.model(setup.oracle))
    for rounds in extract(
        ask,
        first,
        len(setup.classes),
        test,
        setup.settings,
        budget=setup.budget,
        counted=setup.remote,
        eps=setup.eps,
        jsma=0 if setup.remote else JSMA_IMAGES,
        seed=setup.seed,
        progress=progress,
    ):
        yield Extraction(
            rounds,
            setup.oracle,
            setup.dataset,
            setup.initial,
            len(test),
            setup.budget,
            setup.eps,
            setup.settings,
            setup.seed,
        )
