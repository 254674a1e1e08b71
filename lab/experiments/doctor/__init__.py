"""What there is to say of an installation."""
