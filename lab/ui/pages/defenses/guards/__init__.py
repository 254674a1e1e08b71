"""The view `guards`: defenses that change or reject images."""
