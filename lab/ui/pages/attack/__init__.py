"""The page `attack`."""
