"""Bounds hold to the last digit in every precision, distances are right for large pictures, losses keep a direction."""

import pytest
import torch
from torch import nn

import lab
from lab.attacks.norms import box, distances, furthest
from lab.attacks.rounding import rounded, towards
from lab.types import Goal
from tests.support.nets import Small, images

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("key", "norm", "eps"), [("pgd", "linf", 8 / 255), ("square", "linf", 0.1), ("pgd", "l2", 0.7)]
)
def test_no_value_moves_farther_than_eps_in_any_precision(dtype, key, norm, eps):
    model, x = Small().to(dtype).eval(), images(4, 3).to(dtype)
    result = lab.attack(key, model, x, 0, eps=eps, steps=10, **({} if key == "square" else {"norm": norm}))
    assert result.x.dtype == dtype
    moved = (result.x.double() - x.double()).flatten(1)
    assert float((moved.abs() if norm == "linf" else moved.norm(dim=1)).max()) <= eps
    assert max(result.distance[norm].tolist()) <= eps
    with torch.no_grad():
        assert torch.equal(result.success, model(result.x).argmax(1) != 0), "judged as it is handed out"


def test_the_ends_of_the_range_are_the_last_numbers_within_eps():
    x = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    for eps in (0.1, 8 / 255, 0.3):
        low, high = box(x, eps)
        assert (x.double() - low.double() <= eps).all()
        assert (high.double() - x.double() <= eps).all()
        inner = (low > 0) & (high < 1)
        assert (x.double() - torch.nextafter(low, torch.tensor(-1.0)).double() > eps - 1e-7)[inner].all()


def test_half_precision_is_the_nearest_number_or_the_next_towards_the_image():
    clean = torch.rand(1, 1, 30, 30).bfloat16().float()
    x = (clean + 0.05 * torch.randn(1, 1, 30, 30)).clamp(0, 1)
    inward = towards(x, clean, torch.bfloat16)
    assert torch.equal(inward, inward.bfloat16().float())
    assert ((inward - clean).abs() <= (x - clean).abs()).all()
    assert (inward - x).abs().max() <= 2**-8
    assert torch.equal(rounded(x, clean, torch.bfloat16, None, "l2"), x.bfloat16().float())


@pytest.mark.parametrize("shape", [(3, 1000, 1000), (3, 224, 224)])
def test_distances_of_large_pictures_are_right_to_a_millionth(shape):
    d = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)) * 0.5
    found, exact = distances(d + 0.25, torch.full_like(d, 0.25)), ((d + 0.25) - 0.25).double().flatten(1)
    assert float(found["l1"]) == pytest.approx(float(exact.abs().sum()), rel=1e-6)
    assert float(found["l2"]) == pytest.approx(float(exact.norm()), rel=1e-6)


@pytest.mark.parametrize("margin", [0.0, 15.0, 59.0, 61.0, 300.0, 10_000.0])
def test_the_loss_keeps_its_direction_however_sure_the_model_is(margin):
    logits = torch.tensor([[margin, 0.0, -margin]], requires_grad=True)
    goal = Goal(torch.tensor([0]))
    (g,) = torch.autograd.grad(goal.loss(logits).sum(), logits)
    assert g[0, 0] < 0 < g[0, 1]
    closer = goal.loss(torch.tensor([[margin - 1e-3 * (1 + margin), 0.0, -margin]]))
    assert closer > goal.loss(logits.detach()), "and its order"
    if margin < 60:
        assert torch.allclose(goal.loss(logits), nn.functional.cross_entropy(logits, goal.labels), atol=1e-6)


@pytest.mark.parametrize(
    ("key", "norm", "eps"), [("bim", "linf", 0.1), ("mi_fgsm", "linf", 0.1), ("pgd", "l2", 1.5), ("apgd", "l2", 1.5)]
)
def test_logits_a_thousand_times_as_large_are_no_defense(key, norm, eps):
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 12))
    y = model(data.x).argmax(1)
    plain, huge = (
        lab.attack(key, m, data.x, y, eps=eps, norm=norm, steps=10).success for m in (model, lambda x: 1000 * model(x))
    )
    assert plain.sum() >= 8
    assert huge.sum() >= plain.sum() - 1
    traced = lab.attack(key, lambda x: 1000 * model(x), data.x, y, eps=0.01, norm=norm, steps=10, trace=True)
    assert min(float(f.loss.min()) for f in traced.frames) >= 0, "what is told is a cross-entropy"


def test_a_single_step_in_l1_uses_its_budget_where_it_gains_most():
    x, g = torch.tensor([[0.9, 0.5, 0.2, 0.5]]).view(1, 1, 2, 2), torch.tensor([[4.0, -3.0, 2.0, 1.0]]).view(1, 1, 2, 2)
    assert torch.allclose(furthest(g, x, 0.8).flatten(), torch.tensor([0.1, -0.5, 0.2, 0.0]))
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 20))
    result = lab.attack("fgsm", model, data.x, data.y, eps=40, norm="l1")
    assert (result.distance["l1"] > 39).all()
    assert result.success.all()


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("key", ["ni_fgsm", "vni_fgsm"])
def test_a_look_ahead_is_one_step_on(key, norm):
    net, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 30))
    y, eps, far = net(data.x).argmax(1), {"l2": 1.0, "l1": 6.0}[norm], []

    def watched(z):
        far.append(float(distances(z.detach(), data.x)[norm].max()) if len(z) == len(data.x) else 0.0)
        return net(z)

    own = {"neighbours": 2} if key == "vni_fgsm" else {}
    found = lab.attack(key, watched, data.x, y, eps=eps, norm=norm, steps=10, **own)
    assert max(far) <= (2.7 if own else 1.2) * eps
    assert found.success.sum() >= lab.attack("mi_fgsm", net, data.x, y, eps=eps, norm=norm, steps=10).success.sum()


class Root(nn.Module):
    """A distance without a slope at one image, and infinite slopes at black pixels."""

    def __init__(self, stored):
        super().__init__()
        self.net, self.stored = Small(), stored

    def forward(self, x):
        return self.net(x) - 0.01 * (x - self.stored).square().flatten(1).sum(1).sqrt()[:, None] * torch.arange(10)


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("bim", {"norm": "l2", "eps": 2.0}),
        ("mi_fgsm", {"eps": 0.2}),
        ("cw", {"steps": 20}),
        ("deepfool", {}),
        ("fmn", {"steps": 20}),
    ],
)
def test_an_image_without_a_gradient_is_told_and_the_others_are_attacked_as_if_alone(key, params):
    x = images(4, 3)
    model = Root(x[:1].clone()).eval()
    y = model(x).argmax(1)
    alone = lab.attack(key, model, x[1:], y[1:], **params)
    with pytest.warns(lab.LabWarning, match="gradient is NaN or infinite at some images"):
        together = lab.attack(key, model, x, y, **params)
    assert torch.equal(together.success[1:], alone.success)
    assert torch.allclose(together.x[1:], alone.x, atol=1e-5)
    assert alone.success.any()


def test_infinite_slopes_count_as_the_largest():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 8))
    y = model(data.x).argmax(1)
    with pytest.warns(lab.LabWarning, match="infinity as the largest other value"):
        found = lab.attack("mi_fgsm", lambda x: model(x ** (1 / 2.2)), data.x, y, eps=0.2)
    assert found.success.all()


@pytest.mark.parametrize("confidence", [1.0, 5.0])
def test_carlini_wagner_counts_only_what_leads_by_its_confidence(confidence):
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 8))
    y = model(data.x).argmax(1)
    result = lab.attack("cw", model, data.x, y, confidence=confidence, steps=60)
    lead = -Goal(y).margin(model(result.x))
    assert result.success.sum() >= 7
    assert (lead[result.success] >= confidence - 1e-3).all()
    short = lab.attack("cw", model, data.x, y, confidence=100.0, steps=3, searches=1)
    assert not short.success.any(), "another class in front is not enough"
