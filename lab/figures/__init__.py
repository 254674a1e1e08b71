"""Figures: tensors in, Plotly figures and exact pictures out. Nothing here knows Streamlit."""
