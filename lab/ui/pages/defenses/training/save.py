"""Keeps a trained net among the session's own models, and offers it as files."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any, cast

import streamlit as st
from torch import nn

from lab.figures.attack import scaled
from lab.models.catalog import find_model, name_elsewhere
from lab.models.weights import save_weights
from lab.progress import Progress
from lab.records import as_json
from lab.training.presets import PRESETS
from lab.training.session import MEASURED, Folder, Plan, Trained, card
from lab.ui.pages.defenses.training.setup import ASK, NAME, NETS
from lab.ui.shell import trained
from lab.ui.shell.downloads import Offer, offer_files
from lab.ui.shell.jobs import answer
from lab.ui.shell.links import link_to
from lab.ui.shell.prose import prose


def save(run: Trained, net: nn.Module) -> None:
    """Draws the name and the button; once pressed, measures the net for its card, and shows what there is of it."""
    plan, title = run.plan, _title(run.plan)
    name_place, button_place = st.columns([4, 1], vertical_alignment="bottom")
    typed = name_place.text_input("Name of the net", title, max_chars=80, key=ASK.key("name"))
    name = re.sub(r"[^\w .,/()+-]", "", typed).strip() or title
    asked: Hashable = (plan, len(run.epochs), name)
    if button_place.button("Save", key=ASK.key("save"), width="stretch", icon=":material/save:"):
        st.session_state["_saving"] = asked
    if st.session_state.get("_saving") != asked:
        st.caption(prose(NAME, "Saving"))
        return
    saved = cast("dict[Hashable, str]", st.session_state.setdefault("_saved", {}))
    if saved.get(asked) not in trained.mine():

        def work(progress: Progress) -> Iterator[dict[str, Any]]:
            progress.tell(0.0, f"PGD with 50 steps from two starts on {MEASURED} images")
            yield card(run, net, name, f"{NETS[plan.net]}. {PRESETS[plan.preset].summary}")

        about = answer("card", asked, "Measuring the net for its card", work, lane=NAME)
        if about is None:
            return
        saved[asked] = trained.keep(about, net)
        _choose(saved[asked])
    _saved(saved[asked], net)


def _title(plan: Plan) -> str:
    return f"{plan.net}, {PRESETS[plan.preset].name}, {scaled(plan.eps, 'linf')}"


def _saved(key: str, net: nn.Module) -> None:
    """What a saved net is worth, where to go with it, and its files."""
    about = find_model(key).card()
    robust = about.robust[0]
    st.success(
        f"Saved as **{about.name}**: {about.accuracy:.1%} right {about.accuracy_note}, {robust.accuracy:.1%} of "
        f"{robust.n} under PGD ({scaled(robust.eps, 'linf')}, 50 steps, 2 starts), {about.parameters:,} parameters. "
        "Every page now offers it to you."
    )
    with st.container(horizontal=True, gap="small"):
        link_to("pages/attack.py", "Attack it", ":material/bolt:")
        link_to("pages/robustness.py", "Measure its robustness", ":material/shield:")
    folder = Folder()
    file = folder.path / "net"
    save_weights(net, file, about={"architecture": about.details["architecture"]})
    name = name_elsewhere(about.key)
    offer_files(
        name.removesuffix(".safetensors"),
        ASK.key("files"),
        (
            Offer("Weights (.safetensors)", "safetensors", "application/octet-stream", file.read_bytes()),
            Offer("Card (.json)", "json", "application/json", as_json(about.details)),
        ),
    )
    st.caption(f"With both files in one folder: `lab.load_model('{name}')`, and `--model {name}` on the command line.")


def _choose(key: str) -> None:
    """Makes a net the one that the pages of the links look at."""
    task = key.split("/")[0]
    st.session_state.update({"model": key, "robustness_task": task, f"robustness_models_{task}": [key]})
