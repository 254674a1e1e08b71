"""The page `defenses`."""
