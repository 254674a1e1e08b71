"""What a card answers when it is asked for what was measured."""

from dataclasses import replace

import lab
from lab.models.cards import RobustAccuracy


def test_a_model_is_worth_the_lowest_accuracy_that_was_measured():
    measured = (
        RobustAccuracy("pgd", "linf", 0.3, 0.8, 1000),
        RobustAccuracy("autoattack", "linf", 0.3, 0.7, 1000),
        RobustAccuracy("autoattack", "linf", 0.3, 0.75, 200),
        RobustAccuracy("autoattack", "linf", 0.1, 0.9, 1000),
        RobustAccuracy("autoattack", "l2", 0.3, 0.1, 1000),
    )
    card = replace(lab.load_model("mnist/softmax").card, robust=measured)
    assert card.under_attack(0.3).accuracy == 0.7
    assert card.measured("pgd", 0.3).accuracy == 0.8
    assert card.measured("autoattack", 0.3).accuracy == 0.7
    assert card.under_attack(0.2) is None
    assert card.measured("fgsm", 0.3) is None
