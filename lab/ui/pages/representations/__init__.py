"""The page `representations`."""
