"""Defenses: what is put before or around a model, and stays a model that every attack and measure applies to."""
