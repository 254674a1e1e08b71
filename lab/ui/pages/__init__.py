"""The bodies of the pages, one folder each."""
