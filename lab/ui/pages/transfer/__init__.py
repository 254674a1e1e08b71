"""The page `transfer`."""
