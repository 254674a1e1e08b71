"""Links: to this page as it is set, to other pages, and old ones that are still about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlencode

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from lab.models.catalog import CATALOG
from lab.ui.shell.words import short_name

OLD_PREFIXES: Mapping[str, Mapping[str, str]] = {
    "compare": {"a_": "", "compare_a_": "", "b_": "compare_b_"},
    "representations": {
        "r_": "",
        "representations_attack": "attack",
        "representations_norm": "norm",
        "representations_eps": "eps",
        "representations_alpha": "alpha",
        "representations_steps": "steps",
        "map_stage": "representations_map_stage",
        "unit_stage": "representations_unit_stage",
        "plane_stage": "representations_plane_stage",
    },
    "transfer": {"t_": "transfer_"},
    "blackbox": {"o_": "blackbox_"},
    "clever": {"k_": "clever_"},
    "robustness": {"s_": "robustness_"},
    "defenses": {
        "d_view": "defenses_view",
        "d_": "guards_",
        "g_": "smoothing_",
        "t_": "training_",
        "z_": "leaderboard_",
    },
    "capsules": {"c_": "capsules_"},
}
"""By page, how the parameters of its links began once, and how they begin now; the first that fits counts."""


INFINITE = re.compile(r"^[+-]?inf(inity)?$", re.IGNORECASE)
"""A number in a link that Streamlit would make a whole number of, and fail."""
OLD_SIZE = re.compile(r"^(\d+(?:\.\d+)?)/255$")
"""How a size stood in links once; now it is the number of 255ths."""


def renew(page: str) -> None:
    """Gives the parameters of an old link to a page their present names, and runs the script again with them.

    For app.py, once `st.navigation` has run and before the page is drawn: Streamlit sets widgets from the link only
    where they are drawn for the first time in a run.
    """
    old = OLD_PREFIXES.get(page, {})
    link = {name: st.query_params.get_all(name) for name in st.query_params}
    new = {_renewed(name, old): [_renewed_value(name, value) for value in values] for name, values in link.items()}
    if any(name not in st.session_state and link.get(name) != values for name, values in new.items()):
        st.query_params.from_dict(new)
        st.rerun()


def _renewed(name: str, old: Mapping[str, str]) -> str:
    for before, now in old.items():
        if name.startswith(before):
            return now + name.removeprefix(before)
    return name


def _renewed_value(name: str, value: str) -> str:
    """A value of an old link as it stands in links now."""
    if "models_" in name:
        return _short_names().get(value, value)
    return "infinite" if INFINITE.match(value.strip()) else OLD_SIZE.sub(r"\1", value)


@cache
def _short_names() -> Mapping[str, str]:
    """The short names of the models by the long ones, which links had once where several are chosen."""
    return {spec.card().name: short_name(key) for key, spec in CATALOG.items()}


def link_to(path: str, label: str, icon: str | None = None) -> None:
    """A link to another page; plain text where the page runs alone, without app.py's navigation."""
    try:
        st.page_link(path, label=label, icon=icon)
    except StreamlitPageNotFoundError:
        st.markdown(label)


def link_here(title: str) -> None:
    """The link that restores the page, unless the settings are no longer those of the result."""
    st.markdown(f"**{title}**")
    if st.session_state.get("_changed"):
        st.caption("The settings have changed since this result, and the link would give the new ones: run them first.")
    else:
        query = urlencode(st.query_params.to_dict())
        st.code((st.context.url or "") + (f"?{query}" if query else ""), language=None, wrap_lines=True)
