"""The tab with the stages and their shapes, and how far the features move at each."""

from __future__ import annotations

import streamlit as st

from lab.experiments.representations.activations import NOISES
from lab.experiments.representations.representation import Representation
from lab.figures import representations as figures
from lab.figures.attack import times
from lab.types import TINY
from lab.ui.pages.representations.setup import NAME
from lab.ui.parts.scenario import Scenario
from lab.ui.parts.show import show_chart
from lab.ui.shell.prose import prose

ALIKE = 1.25
"""The ratio from which two lengths are told apart."""


def growth(attack: float, noise: float) -> str:
    """How many times larger the network makes an attack and noise on its way, or smaller."""

    def told(ratio: float) -> str:
        if 1 / ALIKE < ratio < ALIKE:
            return "leaves {} as large as it is"
        return f"makes {{}} **{times(ratio if ratio > 1 else 1 / ratio)}** {'larger' if ratio > 1 else 'smaller'}"

    return f"So the network {told(attack).format('the attack')} on its way, and {told(noise).format('noise')}."


def profile(scenario: Scenario, result: Representation) -> None:
    """How much larger the attack grows than noise, as a chart and as a table of all stages."""
    if not result.run.size:
        st.info("The picture did not move, so its features do not either.")
        return
    depth = result.depth
    last, first, control = depth.attack[-1].item(), depth.at_input, depth.noise[-1].item()
    st.markdown(
        prose(
            NAME,
            "The growth",
            first=f"{first:.2%}",
            last=f"{last:.0%}",
            control=f"{control:.0%}",
            growth=growth(last / max(first, TINY), control / max(first, TINY)),
        )
    )
    show_chart(figures.depth_profile(depth), "depth", prose(NAME, "The profile", noises=NOISES))
    with st.expander("All stages"):
        rows = [
            {
                "stage": stage["stage"].removeprefix("net."),
                "kind": stage["kind"],
                "shape": " × ".join(map(str, stage["shape"])),
                "moved by the attack": f"{stage['attack']:.1%}",
                "by noise": f"{stage['noise']:.1%}",
            }
            for stage in depth.record()
        ]
        st.dataframe(rows, hide_index=True, width="stretch", key="stages")
