"""The Robustness page: curves of accuracy under attack, and whether they are to be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import streamlit as st

from lab.data.catalog import of_task
from lab.experiments.robustness.curves import Robustness, evaluate
from lab.figures import robustness as figures
from lab.figures.attack import scaled
from lab.models.catalog import name_elsewhere
from lab.progress import Progress
from lab.ui.pages.robustness.believed import believed
from lab.ui.pages.robustness.images import images
from lab.ui.pages.robustness.leaderboard import leaderboard
from lab.ui.pages.robustness.setup import NAME, Setup, autoattack_if_lower, choose, finished, is_strong, ranking, worst
from lab.ui.parts.show import show_chart
from lab.ui.shell import cache
from lab.ui.shell.downloads import Offer, table_of
from lab.ui.shell.page import Page
from lab.ui.shell.prose import prose
from lab.ui.shell.words import listed


def compute(setup: Setup, progress: Progress) -> Iterator[Robustness]:
    """The curves, after every size of every attack."""
    models = cache.models(setup.models, progress.part(0.0, 0.1))
    data = cache.first_images(setup.models, setup.count)
    for outcomes in evaluate(
        models,
        setup.attacks,
        data.x,
        data.y,
        setup.eps,
        norm=setup.norm,
        seed=setup.seed,
        progress=progress.part(0.1, 1.0),
        steps=setup.steps,
    ):
        dataset = of_task(setup.task).key
        asked, params = len(setup.models) * len(setup.attacks), (("steps", setup.steps),)
        yield Robustness(outcomes, tuple(data.ids), dataset, setup.seed, params, asked=asked)


def show(setup: Setup, result: Robustness) -> None:
    """The verdict and the curves."""
    st.markdown(f"### {sentence(setup, result)}")
    how = prose(NAME, "The curves", n=len(result.ids))
    show_chart(figures.curves(result.outcomes, setup.short, setup.methods), "curves", how)


def live(setup: Setup, result: Robustness) -> None:
    """The curves so far."""
    show_chart(figures.curves(result.outcomes, setup.short, setup.methods), "curves_live")


def sentence(setup: Setup, result: Robustness) -> str:
    """What the models that keep most and least keep at the largest epsilon, and which only seem to.

    Of a run that was stopped, what all models have undergone; where there is no such thing, the last that was measured.
    """
    eps = setup.eps[-1]
    shared = result if result.complete else replace(result, outcomes=result.shared_by(setup.models))
    if not shared.outcomes:
        return _so_far(setup, result)
    ranked = ranking(setup, shared)

    def kept(key: str) -> str:
        clean = next(o for o in result.outcomes if o.model == key).at(0).accuracy
        return f"*{setup.names[key]}* still classifies **{worst(shared, key, eps):.0%}** correctly (clean {clean:.0%})"

    least = f"; {kept(ranked[-1])}" if len(ranked) > 1 else ""
    why = (
        "a sign of masked gradients"
        if is_strong(setup, shared.outcomes)
        else "the attacks measured here are too weak to tell"
    )
    seeming = [
        f"*{setup.names[key]}* keeps {worst(shared, key, eps):.0%} here and {card:.0%} under AutoAttack: {why}."
        for key in ranked
        if (card := autoattack_if_lower(setup, shared, key)) is not None
    ]
    if setup.norm != "linf":
        seeming.append(prose(NAME, "Not in this norm"))
    attacks = list(dict.fromkeys(setup.methods[o.attack] for o in shared.outcomes))
    under = "the worst of these attacks" if result.complete and len(attacks) > 1 else listed(attacks)
    return " ".join([f"At {scaled(eps, setup.norm)}, under {under}, {kept(ranked[0])}{least}.", *seeming])


def _so_far(setup: Setup, result: Robustness) -> str:
    """The last thing that was measured, while nothing can be compared."""
    attacked = [o for o in result.outcomes if o.eps and o.eps[-1]]
    last = (attacked or result.outcomes)[-1]
    name, method = setup.names[last.model], setup.methods[last.attack]
    if not last.eps or not last.eps[-1]:
        right = f"it classifies **{last.at(0).accuracy:.0%}** correctly"
        return f"So far only the clean images were shown to *{name}*: {right}."
    eps = last.eps[-1]
    kept = f"*{name}* still classifies **{last.at(eps).accuracy:.0%}** correctly"
    others = "the other models have not been attacked as far"
    return f"So far, at {scaled(eps, setup.norm)} under {method}, {kept}; {others}."


def doing(setup: Setup) -> str:
    """What the progress bar says."""
    return f"Attacking {len(setup.models)} model{'s' if len(setup.models) > 1 else ''}"


def files(setup: Setup, result: Robustness) -> Sequence[Offer]:
    """What broke which image, beside the curves."""
    whole = replace(result, outcomes=finished(setup, result))  # an image that was not attacked has withstood nothing
    return (Offer("Images (.csv)", "images.csv", "text/csv", table_of(whole.image_rows())),)


def command(setup: Setup, result: Robustness) -> str:
    """The command that measures the curves again."""
    return (
        f"python -m lab evaluate --models {','.join(map(name_elsewhere, setup.models))} "
        f"--attacks {','.join(setup.attacks)} --eps {','.join(f'{e:.6g}' for e in setup.eps)} --norm {setup.norm} "
        f"--dataset {result.dataset} --limit {len(result.ids)} --seed {setup.seed} --param steps={setup.steps}"
    )


PAGE: Page[Setup, Robustness] = Page(
    name=NAME,
    title="Robustness",
    icon=":material/shield:",
    about=prose(NAME, "About"),
    choose=choose,
    compute=compute,
    show=show,
    live=live,
    tabs={"Can it be believed?": believed, "Leaderboard": leaderboard, "Image by image": images},
    command=command,
    files=files,
    doing=doing,
)
