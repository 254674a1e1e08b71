"""Accuracy under attack, and whether it is to be believed."""

from lab.ui.pages.robustness.page import PAGE

PAGE.draw()
