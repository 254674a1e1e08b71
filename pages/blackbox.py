"""A black box copied by its labels alone, and attacked through the copy."""

from lab.ui.pages.blackbox.page import PAGE

PAGE.draw()
