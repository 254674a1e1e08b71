"""Capsules: what a capsule network sees, whether it is more robust, and whether its drawing gives attacks away."""

from lab.ui.pages.capsules.page import PAGE

PAGE.draw()
