"""The entry."""

import streamlit as st

st.title("Adversarial robustness lab")
