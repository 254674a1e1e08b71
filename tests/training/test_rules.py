import copy

import pytest
import torch
from torch.nn import functional as F

from lab.models.nets import build
from lab.params import describe
from lab.training import rules
from lab.training.fit import Augment, Settings
from lab.training.recipe import RULES
from lab.training.rules import (
    PGD,
    Adversarial,
    Distillation,
    EnsembleAdversarial,
    Fast,
    Free,
    Margin,
    Standard,
    Tempered,
    Trades,
    ascend,
    error,
    perturb,
)
from lab.types import ModelError

SHAPE = (1, 8, 8)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch():
    x = torch.rand(16, *SHAPE, generator=rng(1))
    return x, torch.arange(16) % 4


@pytest.fixture
def net():
    return build("cnn", SHAPE, 4, seed=3)


def linear(weight):
    """A two-class net on 8 x 8 images whose logit difference is the weighted sum of the pixels."""
    net = build("softmax", SHAPE, 2)
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([weight.flatten(), torch.zeros(64)]))
        net[1].bias.zero_()
    return net


def test_the_inner_ascent_raises_the_loss_and_stays_within_eps_and_the_pixel_range(net, batch):
    x, y = batch
    z = perturb(net, x, y, rng(), eps=0.1, alpha=0.03, steps=10)
    assert (z - x).abs().max() <= 0.1 + 1e-6
    assert z.min() >= 0
    assert z.max() <= 1
    assert error(net, y)(z) > error(net, y)(x)
    assert error(net, y)(z) >= error(net, y)(ascend(error(net, y), x, x, eps=0.1, alpha=0.1, steps=1)) * 0.99


def test_the_inner_ascent_reaches_the_optimum_of_a_linear_net():
    w = torch.randn(8, 8, generator=rng())
    x, y = torch.full((3, *SHAPE), 0.5), torch.tensor([0, 0, 1])
    z = perturb(linear(w), x, y, rng(), eps=0.2, alpha=0.05, steps=10)
    side = torch.tensor([-1.0, -1.0, 1.0]).view(3, 1, 1, 1)
    assert torch.allclose(z, x + 0.2 * side * w.sign(), atol=1e-6)


def test_random_starts_differ_from_image_to_image(net, batch):
    x, y = batch
    same = x[:1].expand(4, -1, -1, -1).contiguous()
    z = perturb(net, same, y[:1].expand(4), rng(), eps=0.1, alpha=0.0, steps=1)
    assert len({tuple(d.flatten().tolist()) for d in z}) == 4


def test_every_rule_gives_a_scalar_whose_gradient_reaches_every_weight(batch):
    x, y = batch
    other = build("mlp", SHAPE, 4, seed=5)
    for rule in (
        *(Standard(), Adversarial(), PGD(steps=2), Fast(), Trades(steps=2), Free(), Tempered()),
        Distillation(other),
        EnsembleAdversarial([other]),
    ):
        net = build("cnn", SHAPE, 4, seed=3)
        loss = rule(net, x, y, rng())
        assert loss.shape == ()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters()), rule
    assert all(p.grad is None for p in other.parameters())


def test_the_inner_ascent_leaves_no_gradient_in_the_weights(net, batch):
    perturb(net, *batch, rng(), eps=0.1, alpha=0.05, steps=3)
    assert all(p.grad is None for p in net.parameters())


def test_standard_is_cross_entropy(net, batch):
    x, y = batch
    assert torch.equal(Standard()(net, x, y, rng()), F.cross_entropy(net(x), y))


def test_fgsm_training_mixes_the_clean_loss_and_the_loss_on_fgsms_images(net, batch):
    x, y = batch
    z = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(net(z), y), z)
    hard = F.cross_entropy(net((x + 0.1 * g.sign()).clamp(0, 1)), y)
    clean = F.cross_entropy(net(x), y)
    for mix in (0.0, 0.5, 1.0):
        expected = mix * clean + (1 - mix) * hard
        assert torch.allclose(Adversarial(eps=0.1, mix=mix)(net, x, y, rng()), expected)


@pytest.mark.parametrize("rule", [Adversarial(eps=0), PGD(eps=0, alpha=0), Fast(eps=0), Free(eps=0), Trades(eps=0)])
def test_without_a_perturbation_every_adversarial_rule_is_the_standard_one(net, batch, rule):
    x, y = batch
    assert torch.allclose(rule(net, x, y, rng()), Standard()(net, x, y, rng()), atol=1e-6)


def test_trades_with_beta_zero_is_standard_and_its_gradient_is_too(net, batch):
    x, y = batch
    twin = copy.deepcopy(net)
    Trades(beta=0.0, steps=2)(net, x, y, rng()).backward()
    Standard()(twin, x, y, rng()).backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(net.parameters(), twin.parameters(), strict=True))


def test_trades_is_cross_entropy_plus_beta_times_a_divergence(batch):
    x, y = batch
    net = build("softmax", SHAPE, 4, seed=1)
    clean = Standard()(net, x, y, rng())
    gaps = [Trades(eps=0.1, alpha=0.03, steps=5, beta=b)(net, x, y, rng()) - clean for b in (1.0, 3.0)]
    assert gaps[0] > 1e-4
    assert torch.allclose(gaps[1], 3 * gaps[0], atol=1e-6)


def test_eps_grows_over_the_ramp_and_then_stays():
    for rule in (PGD(eps=0.4, alpha=0.1, ramp=0.5), Trades(eps=0.4, alpha=0.1, ramp=0.5)):
        assert [rule.at(p).eps for p in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0.0, 0.2, 0.4, 0.4])
        assert rule.at(0.25).alpha == pytest.approx(0.05)
        assert rule.at(0.25).at(0.0) == rule.at(0.25)


def test_pgds_loss_is_at_least_fasts_at_the_same_eps(net, batch):
    x, y = batch
    assert PGD(eps=0.2, alpha=0.05, steps=20)(net, x, y, rng()) >= Fast(eps=0.2)(net, x, y, rng())


def test_fast_starts_anywhere_within_eps_and_trains_on_pictures(net):
    x, y, seen = torch.zeros(8, *SHAPE), torch.zeros(8, dtype=torch.int64), []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    Fast(eps=0.2)(net, x, y, rng())
    start, end = seen
    assert -0.2 <= start.min() < -0.15
    assert 0.15 < start.max() <= 0.2
    assert end.min() >= 0
    assert end.max() <= 0.2 + 1e-6
    assert [Fast(eps=0.4, ramp=0.5).at(p).eps for p in (0.0, 0.25, 0.5)] == pytest.approx([0.0, 0.2, 0.4])


def test_the_single_step_of_fast_is_a_quarter_longer_than_eps(net):
    x, y, seen = torch.full((8, *SHAPE), 0.5), torch.zeros(8, dtype=torch.int64), []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    Fast(eps=0.2)(net, x, y, rng())
    start, end = seen
    inside = (end - x).abs() < 0.2 - 1e-6  # where the ball did not shorten it
    assert inside.any()
    assert torch.allclose((end - start).abs()[inside], torch.tensor(1.25 * 0.2))


class Masked(torch.nn.Module):
    """Right on the image and wherever a full FGSM step along the decoy leads; wrong between the two.

    The logit difference is a tent over the mean shift of the picture: at 0 and from 0.09 on it favours the true class.
    """

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        shift = (x - 0.5).flatten(1).mean(1).abs()
        dip = 1 - 40 * torch.minimum(shift, (0.1 - shift).clamp(min=0))
        return self.scale * torch.stack([dip, torch.zeros_like(dip)], 1)


def test_the_watch_names_catastrophic_overfitting_and_nothing_else():
    x = torch.full((32, *SHAPE), 0.5) + 0.001
    y = torch.zeros(32, dtype=torch.int64)
    rule = Fast(eps=0.1)
    assert "catastrophic overfitting" in rule.watch(Masked(), x, y, rng())
    robust = linear(torch.full((8, 8), 1.0))
    assert rule.watch(robust, x, y, rng()) == ""
    with torch.no_grad():
        robust[1].bias.copy_(torch.tensor([-31.0, 0.0]))
    assert rule.watch(robust, x, y, rng()) == ""


def test_free_replays_and_carries_the_perturbation_along(net, batch):
    x, y = batch
    losses = []
    for loss in Free(eps=0.1, replays=5).replay(net, x, y, rng()):
        loss.backward()
        losses.append(float(loss.detach()))
    assert len(losses) == 5
    assert losses[-1] > losses[0]


def test_distillation_at_temperature_one_from_a_sure_teacher_is_cross_entropy(net, batch):
    x, y = batch

    class Sure(torch.nn.Module):
        def forward(self, x):
            return 1e4 * F.one_hot(y, 4).float()

    assert torch.allclose(Distillation(Sure(), 1.0)(net, x, y, rng()), F.cross_entropy(net(x), y), atol=1e-5)


def test_distillation_is_smallest_where_the_student_is_the_teacher(batch):
    x, y = batch
    teacher = build("cnn", SHAPE, 4, seed=3)
    student = copy.deepcopy(teacher)
    Distillation(teacher, 20.0)(student, x, y, rng()).backward()
    assert max(float(p.grad.abs().max()) for p in student.parameters()) < 1e-7


def test_distillation_at_a_high_temperature_is_the_tempered_loss_of_soft_labels(net, batch):
    x, y = batch
    teacher = build("mlp", SHAPE, 4)
    soft = (teacher(x) / 7).softmax(1)
    expected = -(soft * (net(x) / 7).log_softmax(1)).sum(1).mean()
    assert torch.allclose(Distillation(teacher, 7.0)(net, x, y, rng()), expected, atol=1e-6)


def test_the_ensemble_rule_draws_from_all_its_nets(net, batch):
    x, y = batch
    static = [build("softmax", SHAPE, 4, seed=1), build("mlp", SHAPE, 4, seed=2)]
    rule = EnsembleAdversarial(static, eps=0.1)
    seen = {round(float(rule(net, x, y, rng(s)).detach()), 6) for s in range(12)}
    clean = 0.5 * Standard()(net, x, y, rng())
    expected = set()
    for source in (net, *static):
        z = ascend(error(source, y), x, x, eps=0.1, alpha=0.1, steps=1)
        expected.add(round(float((clean + 0.5 * F.cross_entropy(net(z), y)).detach()), 6))
    assert seen == expected


def test_the_margin_rule_is_the_papers_loss_and_refuses_other_nets(net, batch):
    x, y = batch
    caps = build("capsnet", (1, 20, 20), 4, channels=4, types=2, pose=4, size=4)
    big = torch.rand(16, 1, 20, 20, generator=rng())
    with torch.no_grad():
        caps.transform.mul_(2000)  # so that capsules of absent classes are long enough to count
    seen = caps.explore(big)
    assert (seen.lengths > 0.2).float().mean() > 0.5
    v, t = seen.lengths, F.one_hot(y, 4)
    margin = t * (0.9 - v).relu() ** 2 + 0.5 * (1 - t) * (v - 0.1).relu() ** 2
    drawn = ((caps.reconstruct(seen.capsules, y) - big) ** 2).flatten(1).sum(1)
    assert torch.allclose(Margin(0.0)(caps, big, y, rng()), margin.sum(1).mean())
    assert torch.allclose(Margin(0.005)(caps, big, y, rng()), (margin.sum(1) + 0.005 * drawn).mean())
    with pytest.raises(ModelError, match="capsule networks"):
        Margin()(net, x, y, rng())


def test_every_parameter_of_rules_and_settings_has_help_and_numbers_have_a_range():
    for cls in (*RULES.values(), Tempered, Settings, Augment):
        params = describe(cls, {})
        assert params, cls
        for p in params:
            assert p.help.endswith("."), (cls, p.name)
            assert p.choices or p.kind is bool or p.bounds is not None, (cls, p.name)


def test_rules_say_what_they_can_do():
    assert isinstance(PGD(), rules.Ramped)
    assert isinstance(Trades(), rules.Ramped)
    assert isinstance(Free(), rules.Replaying)
    assert isinstance(Fast(), rules.Watching)
    assert not isinstance(Standard(), rules.Ramped | rules.Replaying | rules.Watching)
