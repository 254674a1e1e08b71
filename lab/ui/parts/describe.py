"""What is known of an attack, with its formula and every letter of it, and of a model."""

from __future__ import annotations

import streamlit as st

from lab.attacks.spec import Spec
from lab.figures.formulas import STEPS, explain, printed
from lab.models.cards import Card
from lab.types import Paper

DOT = r"\cdot"


def short_citation(paper: Paper) -> str:
    """First author and year."""
    first, *others = paper.authors.split(", ")
    return f"{first}{' et al.' if others else ''} {paper.year}"


def describe_attack(spec: Spec, norm: str) -> None:
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
    st.markdown(f"Access: {spec.access.value}. Code: `{module}.py`, driver `lab/attacks/driver.py`.")


def describe_model(card: Card) -> None:
    """Draws what is known of a model, from its card."""
    st.markdown(f"**{card.name}.** {card.summary}")
    lines = [f"Source: {card.source}. Licence of the weights: {card.licence}."]
    if card.accuracy is not None:
        lines.append(f"Accuracy: {card.accuracy:.2%} {card.accuracy_note}.")
    elif card.accuracy_note:
        lines.append(f"Accuracy: {card.accuracy_note}.")
    if card.parameters:
        lines.append(f"{card.parameters:,} parameters.")
    st.markdown("  \n".join(lines))
    if note := card.details.get("note"):
        st.caption(str(note))
    if card.robust:
        rows = [
            {
                "attack": r.attack,
                "norm": r.norm,
                "epsilon": r.eps,
                "accuracy": f"{r.accuracy:.1%}",
                "images": r.n,
                "measured on": r.device,
            }
            for r in card.robust
        ]
        st.dataframe(rows, hide_index=True, width="content", key="robust")
        st.caption("Accuracy under attack, measured by the lab.")
