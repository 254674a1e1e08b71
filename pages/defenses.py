"""What defenses are worth, and how to make better ones."""

from lab.ui import defenses_page as page
from lab.ui.start import start

start()
page.view()
