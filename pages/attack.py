"""Attack one picture on one model and look at everything that happens."""

from lab.ui.pages.attack.page import PAGE

PAGE.draw()
