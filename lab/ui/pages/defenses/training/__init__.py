"""The view `training`: adversarial training, live."""
