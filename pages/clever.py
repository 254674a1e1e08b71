"""CLEVER: an estimate of how far the nearest adversarial picture is at least."""

from lab.ui.pages.clever.page import PAGE

PAGE.draw()
