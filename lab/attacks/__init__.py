"""Attacks: the driver, the generators and their catalogue."""

from lab.attacks.catalog import CATALOG
from lab.attacks.run import attack

__all__ = ["CATALOG", "attack"]
