"""The page `clever`."""
