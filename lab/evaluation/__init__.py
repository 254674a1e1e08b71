"""Evaluation: predictions and accuracies, clean and under attack."""
