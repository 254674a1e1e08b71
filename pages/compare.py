"""Two attacks on one picture and one model, side by side."""

from lab.ui.pages.compare.page import PAGE

PAGE.draw()
