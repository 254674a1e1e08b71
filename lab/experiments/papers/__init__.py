"""The figures of papers, cards and pages, each measured by a command: `lab reproduce ID`."""
