"""Forms made from the parameters of the catalogue, and what a scenario asks of the lab."""

from __future__ import annotations

import torch
from streamlit.testing.v1 import AppTest

import lab
from lab.ui.parts.scenario import Aim, Method, Scenario, Subject


def form() -> None:
    import streamlit as st

    from lab.attacks import CATALOG
    from lab.ui.parts.forms import form as draw
    from lab.ui.shell.ask import Ask

    st.session_state["values"] = draw(CATALOG["pgd"].params, {}, Ask("sample"))


def test_a_form_starts_at_the_catalogues_values_and_leaves_automatic_what_is() -> None:
    at = AppTest.from_function(form, default_timeout=30).run()
    spec = lab.attacks.CATALOG["pgd"]
    assert at.session_state["values"] == {p.name: p.default for p in spec.params}
    assert at.session_state["values"]["alpha"] is None
    at.number_input(key="sample_alpha").set_value(2.0).run()
    assert at.session_state["values"]["alpha"] == 2 / 255


def test_the_scale_of_a_size_is_that_of_its_norm() -> None:
    at = AppTest.from_function(form, default_timeout=30).run()
    at.segmented_control(key="sample_norm").set_value("l2").run()
    at.number_input(key="sample_eps_l2").set_value(2.0).run()
    assert at.session_state["values"]["norm"] == "l2"
    assert at.session_state["values"]["eps"] == 2.0


def test_a_scenario_asks_for_all_that_it_holds() -> None:
    card = lab.load_model("mnist/softmax").card
    subject = Subject("mnist/softmax", "mnist", "4", 7, card, torch.zeros(1, 1, 28, 28))
    request = Scenario(subject, Method("pgd", (("eps", 0.1), ("steps", 3))), Aim(target=3, seed=5)).request
    assert (request.model, request.dataset, request.image) == ("mnist/softmax", "mnist", "4")
    assert (request.attack, dict(request.params)) == ("pgd", {"eps": 0.1, "steps": 3})
    assert (request.target, request.seed) == (3, 5)
