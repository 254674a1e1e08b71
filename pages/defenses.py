"""What defenses are worth, and how to make better ones."""

from lab.ui.pages.defenses import page
from lab.ui.shell.navigation import start

start()
page.view()
