"""Images made to fool one model, shown to models that were never touched."""

from lab.ui.pages.transfer.page import PAGE

PAGE.draw()
