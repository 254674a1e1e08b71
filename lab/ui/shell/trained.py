"""The nets that a person trained: kept for the session, and offered wherever a model is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import streamlit as st
from torch import nn

from lab.models.catalog import CATALOG, card_of, find_model
from lab.models.trained import add_own, is_own

MARK = "My: "
"""How the names of own models begin."""


def keys(task: str = "") -> list[str]:
    """Keys of the models that this session may choose from: the catalogue's, then its own; of one task where named."""
    return [key for key in (*CATALOG, *mine()) if not task or key.startswith(f"{task}/")]


def mine() -> list[str]:
    """Keys of this session's own models that are still kept, the oldest first."""
    return [key for key in _saved() if is_own(key)]


def keep(details: Mapping[str, Any], net: nn.Module) -> str:
    """Keeps a copy of a net among this session's own models.

    Args:
        details: what its card says, as in the file beside a shipped model's weights; its name gets the mark, and a
            number where the session has a model of that name.
        net: images [N,C,H,W] in [0,1] -> logits.

    Returns:
        Its key.
    """
    taken = {find_model(key).card().name for key in mine()}
    name = plain = MARK + str(details["name"])
    number = 1
    while name in taken:
        number += 1
        name = f"{plain} ({number})"
    key = add_own(card_of({**details, "name": name}), net)
    _saved()[key] = name
    return key


def is_gone(key: str) -> bool:
    """Whether a key is that of an own model which this session has saved, and which is kept no longer."""
    return key in _saved() and not is_own(key)


def name_of(key: str) -> str:
    """What one of this session's own models is called, also where it is kept no longer."""
    return _saved().get(key, key)


def _saved() -> dict[str, str]:
    """The names of all models that this session has kept, by key."""
    return cast("dict[str, str]", st.session_state.setdefault("_own", {}))
