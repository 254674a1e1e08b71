"""The tab with what excites a unit, beside what excites a random direction."""

from __future__ import annotations

import streamlit as st

from lab.experiments.representations.directions import TOP, Space
from lab.experiments.representations.representation import Representation, ranking
from lab.figures import representations as figures
from lab.ui.pages.representations.setup import NAME, about_set, followed, pick_layer, sample_of
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.parts.tiles import strip
from lab.ui.shell.ask import Ask
from lab.ui.shell.prose import prose


def directions(scenario: Scenario, result: Representation) -> None:
    """The pictures that excite both most, and how often such pictures agree."""
    layer = pick_layer(result, "unit_stage", maps=False)
    sample = sample_of(scenario.card) if layer else None
    along = followed(result) if sample else None
    if layer is None or sample is None or along is None:
        return
    clean, attacked = along.path[layer.name][0], along.path[layer.name][-1]
    order = ranking(clean, attacked).tolist()
    space, classes = Space(sample.features[layer.name], sample.labels), scenario.card.classes
    ask = Ask(NAME)
    left, right = st.columns(2)
    with left:
        unit = ask.select(
            "unit",
            "Unit, most changed by the attack first",
            order,
            order[0],
            format_func=lambda u: f"unit {u}",
            help="One of the numbers that the stage puts out; for a feature map, its mean.",
        )
    with right:
        number = ask.whole(
            "direction",
            "Random direction",
            0,
            999,
            0,
            help="A random mixture of all units of the stage; each number stands for another one.",
        )
    st.markdown(
        f"Unit {unit} answers **{clean[unit]:.3g}** to the clean picture and **{attacked[unit]:.3g}** to the attacked "
        "one."
    )
    for name, direction in (("the unit", unit), ("the random direction", space.random(number + 1)[number])):
        alike = f"{space.purity(direction) * TOP:.0f} of {TOP} share their commonest class"
        st.markdown(f"**The {TOP} pictures that excite {name} most**: {alike}")
        strip([(sample.pictures[i], classes[int(sample.labels[i])]) for i in space.top(direction).tolist()])
    st.caption(about_set(scenario.card, len(sample.labels)))
    units, random = space.purities()
    how = prose(
        NAME,
        "The purity",
        top=TOP,
        units=f"{len(units):,}",
        directions=len(random),
        chance=f"{space.chance():.0%}",
    )
    show_chart(figures.purity(units, random, space.chance()), "purity", how)
