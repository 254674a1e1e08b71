"""CLEVER: estimates of how far the nearest adversarial image is at least."""
