"""What the network sees, layer by layer, in the clean and in the attacked picture."""

from lab.ui.pages.representations.page import PAGE

PAGE.draw()
