"""Which class an attack aims at where it is told only which one to leave."""

from __future__ import annotations

from torch import Tensor

from lab.types import Goal


def as_targeted(goal: Goal, logits: Tensor) -> Goal:
    """The goal as one class to reach per image: the target, or the class that comes next to the label."""
    if goal.targeted:
        return goal
    return Goal(logits.scatter(1, goal.labels.unsqueeze(1), float("-inf")).argmax(1), targeted=True)


def rival(logits: Tensor, goal: Goal, rank: int) -> Tensor:
    """The class [N] of that rank among all but the label, 1 the most probable; the last where there are fewer."""
    order = logits.scatter(1, goal.labels.unsqueeze(1), float("-inf")).argsort(dim=1, descending=True)
    return order[:, min(rank, order.shape[1] - 1) - 1]
