"""What the lab measures: one folder for each experiment, named as its page, its figures and its command."""
