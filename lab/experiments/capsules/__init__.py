"""A capsule network looked into and attacked, beside a rival, and as its own detector."""
