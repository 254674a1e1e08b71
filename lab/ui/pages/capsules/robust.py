"""The tab that compares the capsule network with another one under the same attacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import streamlit as st

from lab.defenses.detect import capsules_of
from lab.experiments.capsules.look import Look
from lab.experiments.capsules.rivals import ASKED, TRANSFER, VOTE, WHITE, WORST, Rivals, compare, title_of, worst_of
from lab.experiments.robustness.curves import Outcome, Robustness
from lab.figures import capsules as figures
from lab.figures.attack import scaled
from lab.progress import Progress
from lab.ui.pages.capsules.setup import NAME, Setup
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import tiles
from lab.ui.shell import cache
from lab.ui.shell.ask import Ask
from lab.ui.shell.downloads import files_of, offer_files
from lab.ui.shell.jobs import answer
from lab.ui.shell.prose import prose
from lab.ui.shell.words import listed

SIZES = 7
"""Sizes of a curve, with 0."""
PANEL_WIDTH = 290
"""Width in pixels of one chart of accuracies."""


def robust(setup: Setup, result: Look) -> None:
    """Both networks under the same attacks, and what that says."""

    def work(progress: Progress) -> Iterator[Robustness]:
        first, second = cache.models(setup.models, progress.part(0.0, 0.1)).values()
        data, rivals = setup.images(0, setup.count), Rivals(first, second, capsules_of(first), setup.models)
        eps = [setup.eps * k / (SIZES - 1) for k in range(SIZES)]
        for outcomes in compare(
            rivals, data.x, data.y, eps, seed=setup.seed, progress=progress.part(0.1, 1.0), steps=setup.steps
        ):
            params = (("steps", setup.steps),)
            yield Robustness(outcomes, tuple(data.ids), setup.dataset, setup.seed, params, asked=ASKED)

    def live(so_far: Robustness) -> None:
        _panels(so_far.outcomes, setup.names, setup.eps)

    key = (setup.models, setup.eps, setup.steps, setup.count, setup.seed)
    curves = answer("rivals", key, "Attacking both networks", work, live)
    if curves is None:
        return
    outcomes = curves.outcomes if curves.complete else curves.shared_by(setup.models)
    if not curves.complete:
        st.warning("Stopped: only attacks that were completed on both networks are shown and compared.")
    if verdict := conclusion(outcomes, setup.names, curves.complete):
        st.markdown(f"#### {verdict}")
    measured = [key for key in setup.models if any(o.model == key for o in outcomes)]
    _panels((*outcomes, *(worst_of(outcomes, key) for key in measured)), setup.names, setup.eps)
    st.caption(prose(NAME, "The rivals", n=len(curves.ids)))
    offer_files("capsules_curves", Ask(NAME).key("curves"), files_of(curves))


def _panels(outcomes: Sequence[Outcome], names: Mapping[str, str], top: float) -> None:
    """A chart for each attack, all with the same axes, in rows that wrap."""
    with st.container(key="panels"):
        kinds = [k for k in (*WHITE, VOTE, TRANSFER, WORST) if any(o.attack == k and o.eps for o in outcomes)]
        for kind, place in zip(kinds, tiles(len(kinds), PANEL_WIDTH), strict=True):
            with place:
                own = [o for o in outcomes if o.attack == kind and o.eps]
                show_chart(
                    figures.against(own, names, title_of(kind), top),
                    f"panel_{kind}",
                    alt=f"Accuracy against epsilon, {title_of(kind)}",
                )


def conclusion(outcomes: Sequence[Outcome], names: Mapping[str, str], whole: bool = True) -> str | None:
    """What was measured where one gradient step separates the networks most; None before there is enough.

    Args:
        outcomes: of attacks that both networks have undergone, and of those for one of them alone where it is whole.
        names: of the networks, the capsules' first.
        whole: whether these are all attacks.
    """
    first, second = names
    step = {o.model: o for o in outcomes if o.attack == "fgsm"}
    sizes = [e for e in step[first].eps if e and e in step[second].eps] if set(step) == set(names) else []
    if not sizes:
        return None
    eps = max(sizes, key=lambda e: step[first].at(e).accuracy - step[second].at(e).accuracy)
    one = [step[model].at(eps) for model in names]
    worst = [worst_of(outcomes, model) for model in names]
    last = [o.at(eps).accuracy for o in worst]
    kinds = list(dict.fromkeys(title_of(o.attack) for o in outcomes if o.model == first))
    under = "all attacks" if whole else listed(kinds)
    doubt = "" if one[0].low > one[1].high else " (too few images to tell them apart)"
    return (
        f"Under FGSM at {scaled(eps, 'linf')} the capsule network still classifies **{one[0].accuracy:.0%}** "
        f"correctly, *{names[second]}* {one[1].accuracy:.0%}{doubt}; under the worst of {under} "
        f"for each image **{last[0]:.0%}** and {last[1]:.0%}. {_ahead(worst, sizes, under)}"
    )


def _ahead(worst: Sequence[Outcome], sizes: Sequence[float], under: str) -> str:
    """At which sizes the first network is ahead of the second under these attacks, and at which it is behind."""
    ahead = [e for e in sizes if worst[0].at(e).low > worst[1].at(e).high]
    behind = [e for e in sizes if worst[0].at(e).high < worst[1].at(e).low]
    if ahead:
        left = [f"{o.at(ahead[-1]).accuracy:.0%}" for o in worst]
        kept = f"The largest size at which it is ahead under {under} is {scaled(ahead[-1], 'linf')} "
        kept += f"({left[0]} against {left[1]})."
    else:
        kept = f"At no size do these images show that it is ahead under {under}."
    if behind:
        kept += f" At {', '.join(scaled(e, 'linf') for e in behind)} it is the weaker one."
    return kept
