"""The lab's entry point: streamlit run app.py."""

import streamlit as st

st.set_page_config(page_title="Adversarial robustness lab", page_icon="assets/overview/icon.png", layout="wide")
st.navigation(
    [
        st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
        st.Page("pages/attack.py", title="Attack", icon=":material/bolt:"),
    ]
).run()
