"""The picture as the model sees it, with its likeliest classes, before anything is run."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import streamlit as st
from torch import Tensor

from lab.models.catalog import is_here
from lab.predict import logits_of
from lab.ui.parts.scenario import Subject
from lab.ui.parts.show import show_pixels
from lab.ui.parts.tiles import THUMBNAIL, thumbnail
from lab.ui.shell import cache
from lab.ui.shell.say import attempt

LIKELIEST = 3
"""Classes that are told."""
KEPT = 64
"""Pictures whose classes a session keeps."""


def probabilities(subject: Subject) -> Tensor:
    """Of the classes that the model sees in the picture [K]; computed once for a session.

    Raises:
        ModelError: where the model cannot be loaded.
    """
    known = cast("OrderedDict[Subject, Tensor]", st.session_state.setdefault("_seen", OrderedDict()))
    if subject not in known:
        known[subject] = logits_of(cache.model(subject.model), subject.x)[0].softmax(0)
        while len(known) > KEPT:
            known.popitem(last=False)
    return known[subject]


def likeliest(subject: Subject) -> str:
    """The likeliest classes, for a person."""
    shares, classes = probabilities(subject).topk(min(LIKELIEST, len(subject.card.classes)))
    names = [subject.card.classes[k] for k in classes.tolist()]
    told = [f"{name} {share:.0%}" for name, share in zip(names, shares.tolist(), strict=True) if share >= 0.005]
    return "  \n".join([f"**{told[0]}**", *told[1:]])


def preview(subject: Subject) -> None:
    """The picture, and what the model sees in it, where the model is on this machine."""
    row = st.container(horizontal=True, gap="small")
    with row.container(width=THUMBNAIL):
        show_pixels(thumbnail(subject.x[0]), "The picture as the model sees it")
    if is_here(subject.model):
        with row.container(width="stretch"):
            told = attempt(lambda: likeliest(subject))
            if told is not None:
                st.caption(f"Seen as  \n{told}")
