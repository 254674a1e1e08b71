"""The entry: what this is, one real result, and the way to each page."""

import streamlit as st

from lab.ui.pages.overview import page
from lab.ui.shell.navigation import start

start()
st.title("Adversarial robustness lab")
st.markdown("See how small, deliberately chosen changes to a picture make an image classifier name something else.")
page.example()
page.ways_on()
page.present()
