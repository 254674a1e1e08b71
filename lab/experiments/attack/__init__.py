"""One attack on one image, and everything that is measured of it."""
