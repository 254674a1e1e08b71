"""The page `blackbox`."""
