"""Accuracy under attack against epsilon, and checks that say whether it is to be believed."""
