"""What all pages stand on: the page object, its jobs, its links, its session."""
