"""What models, attacks and shares are called on the pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lab import attacks
from lab.attacks.spec import Spec
from lab.data.catalog import TASKS
from lab.models.cards import Card
from lab.models.catalog import find_model
from lab.types import Access, ModelError

SEES = {Access.GRADIENTS: "", Access.SCORES: " (scores only)", Access.LABELS: " (label only)"}
"""What an attack sees of the model, unless that is everything."""


def name_of(word: str) -> str:
    """The name of the model or attack that has this key; any other word as it is."""
    if word in attacks.CATALOG:
        return attacks.CATALOG[word].name
    try:
        return find_model(word).card().name if "/" in word else word
    except ModelError:
        return word


SHORT: Mapping[str, str] = {
    "softmax": "Softmax",
    "mlp": "Fully connected",
    "maxout": "Maxout",
    "rbf": "RBF",
    "cnn": "CNN",
    "cnn_small": "Small CNN",
    "cnn_half_a": "CNN, half A",
    "cnn_half_b": "CNN, half B",
    "cnn_pgd_at": "CNN, PGD-trained",
    "cnn_fgsm_at": "CNN, FGSM-trained",
    "cnn_trades": "CNN, TRADES",
    "cnn_distilled": "CNN, distilled",
    "cnn_noise": "CNN, noise-trained",
    "capsnet": "CapsNet",
}
"""Short names of models of several tasks, by their keys without the task: distinct where there is little room."""


def short_name(key: str) -> str:
    """What a model is called where there is little room: within its task no other is called so."""
    return SHORT.get(key.rpartition("/")[2]) or find_model(key).card().name


def model_label(card: Card) -> str:
    """What a model is called in pickers of all models, and in links."""
    return f"{card.name}, {TASKS[card.task]}"


def attack_label(spec: Spec) -> str:
    """What an attack is called in pickers and in links: with what it sees of the model, unless that is everything."""
    return spec.name + SEES[spec.access]


def plain(text: str) -> str:
    """Markdown as a text that is read aloud: without its marks."""
    return re.sub(r"[*`$]|\[([^\]]*)\]\([^)]*\)", lambda found: found.group(1) or "", text)


def percent(share: float | None, places: int = 1) -> str:
    """A share in percent, with so many decimal places; a dash where there is none."""
    return "–" if share is None else f"{share:.{places}%}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: A, B and C."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
