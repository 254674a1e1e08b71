"""A black box that answers labels, copied by asking it, and attacked through the copy."""
