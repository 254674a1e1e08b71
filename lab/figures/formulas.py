r"""What the letters of the formulas mean, and how \step{g}, the norm's steepest step, and \dual are printed."""

from __future__ import annotations

import re
from collections.abc import Mapping

SYMBOLS: Mapping[str, str] = {
    "x": "the picture, every value in [0, 1]; $x_t$ after $t$ iterations, $x'$ the attacked one",
    "y": "the class that the model sees in the clean picture",
    "t": "the number of the iteration",
    "nabla": "the gradient with respect to the picture",
    "J": "the cross-entropy of the class $y$; with a chosen goal, minus the cross-entropy of the goal",
    "epsilon": "the size allowed, in the chosen norm",
    "alpha": "the step size",
    "Pi": r"the nearest picture within $\epsilon$ of the clean one and inside [0, 1]",
    "mu": "the momentum: the share of the past that is kept",
    "g": "the gradients so far, accumulated",
    "u": r"a random change of a size up to $\epsilon$",
    "T": "a random shrinking and shifting of the picture",
    "p": "the probability of changing the picture first",
    "W": "a Gaussian blur",
    "v": "how the gradients around the picture differ from its own",
    "N": "how many neighbours are looked at",
    "i": "one of several copies or neighbours",
    "r": "a random change",
    "m": "how many copies are averaged over",
    "f": "the model's logits; $f_k$ that of class $k$",
    "k": "a class",
    "w": "a direction from one class to another",
}
"""What a letter, or the name of a Greek one, stands for; an attack's own `Spec.symbols` come first."""
STEPS: Mapping[str, tuple[str, str]] = {
    "linf": (r"\operatorname{sign}\left(#1\right)", "the sign of each value: the steepest step in L∞"),
    "l2": (r"\frac{#1}{\left\lVert #1\right\rVert_2}", "the gradient at unit length: the steepest step in L2"),
    "l1": (
        r"\operatorname{sparse}\left(#1\right)",
        "a step of length 1 in L1, spread by sign over the steepest percent of the values",
    ),
}
"""Per norm, how \\step{} is printed and what it is."""
DUALS: Mapping[str, str] = {"linf": "1", "l2": "2", "l1": r"\infty"}
"""Per norm, the name of its dual, which \\dual stands for."""
GREEK = re.compile(
    "nabla|(var)?(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|"
    "psi|omega)",
    re.IGNORECASE,
)


def letters(formula: str) -> list[str]:
    """The letters of a LaTeX formula and the names of its Greek ones, each once, in order; words in it do not count."""
    words = re.sub(r"\\(text|mathrm|operatorname\*?|mathtt)\{[^}]*\}|[A-Z]{2,}", " ", formula)
    found = (command or letter for command, letter in re.findall(r"\\([A-Za-z]+)|([A-Za-z])", words))
    return [name for name in dict.fromkeys(found) if len(name) == 1 or GREEK.fullmatch(name)]


def explain(formula: str, own: Mapping[str, str]) -> dict[str, str]:
    """What each letter of a formula means, by its LaTeX.

    Args:
        formula: in LaTeX.
        own: meanings that come before those of SYMBOLS.
    """
    known = {**SYMBOLS, **own}
    return {(name if len(name) == 1 else "\\" + name): known[name] for name in letters(formula) if name in known}


def printed(formula: str, norm: str) -> str:
    r"""A formula with \step{} and \dual defined for a norm of STEPS, its parts one below the other."""
    lines = formula.replace(r",\quad ", r",\\[0.5em] ")
    defined = rf"\def\step#1{{{STEPS[norm][0]}}} \def\dual{{{DUALS[norm]}}} " if norm in STEPS else ""
    return rf"{defined}\begin{{gathered}} {lines} \end{{gathered}}"
