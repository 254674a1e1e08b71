"""The page `robustness`."""
