"""What defenses are worth, and how to make better ones."""

from lab.ui.pages.defenses.page import PAGE

PAGE.draw()
