"""The entry: what this is, one real result, and the way to each page."""

from lab.ui.pages.overview.page import PAGE

PAGE.draw()
