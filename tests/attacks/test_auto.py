"""AutoAttack: its stages, what each of them broke, and that it is at least as strong as each of its parts."""

import pytest
import torch
from torch import nn

import lab
from lab.attacks.apgd import dlr
from lab.attacks.auto import AutoAttack
from lab.types import Goal
from tests.support.nets import Small, images


def case(n=12):
    torch.manual_seed(5)
    model = Small(3, 10).eval()
    x = images(n, 3)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def test_every_image_is_broken_by_the_stage_that_the_log_says():
    model, x, y = case()
    y = torch.where(torch.arange(12) < 2, (y + 1) % 10, y)  # two that are wrong from the start
    result = lab.attack("autoattack", model, x, y, eps=0.02, version="quick", trace=True)
    assert 2 < result.success.sum() < 12
    assert result.stage[:2] == ("clean", "clean")
    for i in range(12):
        assert (result.stage[i] != "") == bool(result.success[i])
        assert result.stage[i] in ("", "clean", "APGD-CE", "APGD-T", "FAB-T", "Square")
    assert result.distance["linf"].max() <= 0.02 + 1e-6
    assert result.distance["linf"][:2].tolist() == [0, 0]


def test_it_breaks_whatever_one_of_its_stages_breaks():
    model, x, y = case(24)
    eps = 0.015
    whole = lab.attack("autoattack", model, x, y, eps=eps, version="quick").success
    assert 0 < whole.sum() < 24
    for key, params in (("apgd", {}), ("apgd", {"loss": "dlr"}), ("square", {"steps": 500}), ("bim", {"steps": 20})):
        assert not (lab.attack(key, model, x, y, eps=eps, **params).success & ~whole).any(), key


def test_the_standard_budgets_are_those_of_the_paper():
    stages = list(AutoAttack()._stages(10, Goal(torch.zeros(1, dtype=torch.int64))))
    assert [name for name, _ in stages] == ["APGD-CE", *["APGD-T"] * 9, *["FAB-T"] * 9, "Square"]
    assert [a.steps for _, a in stages] == [*[100] * 19, 5000]
    assert [a.rival for name, a in stages if name == "APGD-T"] == [*range(1, 10)]
    few = list(AutoAttack()._stages(3, Goal(torch.zeros(1, dtype=torch.int64))))
    assert [name for name, _ in few] == ["APGD-CE", *["APGD-T"] * 2, *["FAB-T"] * 2, "Square"]


def test_the_ratio_ignores_shift_and_scale_of_the_logits():
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, other = torch.arange(5), torch.arange(5) + 5
    for loss in (dlr(Goal(y)), dlr(Goal(y), other), dlr(Goal(other, True))):
        assert torch.allclose(loss(1000 * logits - 77), loss(logits), rtol=1e-9)
    top = logits.sort(dim=1).values
    own, best = logits[torch.arange(5), y], logits.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)
    assert torch.allclose(dlr(Goal(y))(logits), -(own - best) / (top[:, -1] - top[:, -3]))
    aimed = -(own - logits[torch.arange(5), other]) / (top[:, -1] - (top[:, -3] + top[:, -4]) / 2)
    assert torch.allclose(dlr(Goal(y), other)(logits), aimed)


class Scaled(nn.Module):
    """Logits a thousand times as large: the gradient of the cross-entropy vanishes in 32 bits, the ratio's does not."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return 1000 * self.net(x)


def test_large_logits_hide_nothing():
    model, x, y = case()
    plain = lab.attack("apgd", model, x, y, eps=0.03, loss="dlr").success
    assert torch.equal(lab.attack("apgd", Scaled(model), x, y, eps=0.03, loss="dlr").success, plain)
    assert plain.any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_halve_where_the_loss_has_stopped_rising(norm):
    """The loss has its top inside the ball: whole steps jump over it for ever, halved ones come to it."""
    x, top = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0.57, 0.41]).view(2, 1, 1, 1)

    def model(z):
        gap = -1 - 10 * (z - (top if len(z) == 2 else top[:1])).square().sum((1, 2, 3))
        return torch.stack([-gap, torch.zeros_like(gap)], 1)

    result = lab.attack("apgd", model, x, 0, eps=0.3, norm=norm, steps=100, trace=True)
    losses = torch.stack([f.loss for f in result.frames])
    best = -torch.nn.functional.logsigmoid(torch.tensor(1.0))
    assert (losses[-5:] > best - 1e-3).all()
