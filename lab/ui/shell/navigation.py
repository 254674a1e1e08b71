"""The pages that exist, and what every one of them does first."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager


@dataclass(frozen=True)
class Page:
    """A page: its file, its name, its icon, what a person finds there, and whether it attacks a model's picture."""

    path: str
    title: str
    icon: str
    about: str = ""
    attacks: bool = True


PAGES = (
    Page("pages/overview.py", "Overview", ":material/home:", attacks=False),
    Page(
        "pages/attack.py",
        "Attack",
        ":material/bolt:",
        "Pick a model and a picture, tune epsilon and iterations, and see the attack from every side: pictures, "
        "iterations, epsilon, decision plane, what survives in a file.",
    ),
    Page(
        "pages/compare.py",
        "Compare",
        ":material/balance:",
        "Two attacks on the same picture and model, side by side: what each makes the model see, how far it moves the "
        "picture, and what it costs.",
    ),
    Page(
        "pages/representations.py",
        "Representations",
        ":material/layers:",
        "What the network sees, layer by layer, in the clean and in the attacked picture: feature maps, what a unit "
        "responds to, attribution, and how the attack grows on its way.",
    ),
    Page(
        "pages/transfer.py",
        "Transfer",
        ":material/swap_horiz:",
        "Images made to fool one model, shown to others that were never touched: a matrix over the zoo, the same wrong "
        "class, disjoint training sets, and what makes an attack carry over.",
        attacks=False,
    ),
    Page(
        "pages/blackbox.py",
        "Black box",
        ":material/lock:",
        "A model of which only labels are seen, copied by asking it, round by round, and attacked through the copy; "
        "beside it the attacks that ask for every image.",
        attacks=False,
    ),
    Page(
        "pages/clever.py",
        "CLEVER",
        ":material/straighten:",
        "How far the nearest adversarial picture is at least, estimated from the gradients around a picture; beside it "
        "what attacks find, and where the estimate fails.",
    ),
    Page(
        "pages/robustness.py",
        "Robustness",
        ":material/shield:",
        "Accuracy against the size of the perturbation, for models and attacks; the zoo under AutoAttack; and sanity "
        "checks that say whether such figures are to be believed.",
        attacks=False,
    ),
    Page(
        "pages/defenses.py",
        "Defenses",
        ":material/security:",
        "What defenses are worth once the attacker knows them: transformations, detectors, randomized smoothing; "
        "adversarial training live; and all models side by side.",
        attacks=False,
    ),
    Page(
        "pages/capsules.py",
        "Capsules",
        ":material/hub:",
        "A capsule network looked into: parts, routing and what it draws; whether it is more robust than a "
        "convolutional net; and whether its drawing gives attacks away.",
        attacks=False,
    ),
)
"""In the order of the navigation; the first is the entry."""

ONE_ENTRY_A_PAGE = """<script>
if (!window.labHistory) {
  window.labHistory = true;
  const push = history.pushState.bind(history);
  let before = null;
  history.pushState = (state, title, url) => {
    if (new URL(url ?? "", location.href).pathname === location.pathname) {
      const here = location.href;
      before ??= here;
      setTimeout(() => (before = before === here ? null : before), 1000);
      history.replaceState(state, title, url);
    } else {
      if (before) history.replaceState(state, title, before);
      before = null;
      push(state, title, url);
    }
  };
}
</script>"""
"""On the way from page to page Streamlit first adds an entry to the browser's history in which the page that is left
has lost its settings; Back then takes two presses, and the settings are gone. With this there is one entry a page, and
it keeps the settings."""


def start() -> None:
    """Makes sure that app.py has set up the navigation, and that the browser's Back leads to the page before.

    A folder named pages/ makes Streamlit run a page without app.py when the first visit to a new server is a link
    straight to that page; once `st.navigation` has run, this is off for good. Here the first visit switches it off.
    """
    if PagesManager.uses_pages_directory and "_started" not in st.session_state:
        st.session_state["_started"] = True
        PagesManager.uses_pages_directory = False
        st.rerun()
    st.html(ONE_ENTRY_A_PAGE, unsafe_allow_javascript=True)
