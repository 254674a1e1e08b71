"""Training: `fit` as a generator of epochs, the rules, and the recipes of the shipped nets."""
