"""What is known of an attack: its formula with every letter explained, its papers, its access, its code."""

from __future__ import annotations

import streamlit as st

from lab.attacks.spec import Spec
from lab.figures.formulas import STEPS, explain, printed
from lab.types import Paper

DOT = r"\cdot"


def short_citation(paper: Paper) -> str:
    """First author and year."""
    first, *others = paper.authors.split(", ")
    return f"{first}{' et al.' if others else ''} {paper.year}"


def about_attack(spec: Spec, norm: str) -> None:
    """Draws what the attack does, its formula in a norm, what the formula's letters mean, and where to read on."""
    st.markdown(f"**{spec.name}.** {spec.summary}")
    st.latex(printed(spec.formula, norm))
    lines = [f"${latex}$: {meaning}" for latex, meaning in explain(spec.formula, spec.symbols).items()]
    if r"\step" in spec.formula:
        latex, meaning = STEPS[norm]
        lines.append(f"${latex.replace('#1', DOT)}$: {meaning}")
    st.markdown("  \n".join(lines))
    for paper in spec.papers:
        st.markdown(f"[{paper.citation}]({paper.url})")
    module = spec.make.__module__.replace(".", "/")
    st.markdown(f"Access: {spec.access.value}. Code: `{module}.py`, driver `lab/attacks/run.py`.")
