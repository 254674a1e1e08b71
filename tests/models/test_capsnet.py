import pytest
import torch

from lab.models.capsnet import CapsNet, route, squash
from lab.models.nets import build, count_parameters


@pytest.fixture(scope="module")
def net():
    return build("capsnet", (1, 28, 28), 10, seed=1).eval()


@pytest.fixture(scope="module")
def x():
    return torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_squash_keeps_the_direction_and_bounds_the_length():
    s = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 50).unsqueeze(1)
    v = squash(s)
    n = s.norm(dim=1)
    assert torch.allclose(v.norm(dim=1), n**2 / (1 + n**2), rtol=1e-4)
    assert torch.allclose(torch.cosine_similarity(s, v), torch.ones(50), atol=1e-5)
    assert (v.norm(dim=1) < 1 + 1e-6).all()


def test_squash_of_nothing_is_nothing_and_has_a_gradient():
    s = torch.zeros(2, 3, requires_grad=True)
    (g,) = torch.autograd.grad(squash(s).sum(), s)
    assert torch.equal(squash(s), torch.zeros(2, 3))
    assert g.isfinite().all()


def test_routing_equals_the_papers_procedure_written_out():
    votes = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    b = torch.zeros(3, 5, 4)
    for _ in range(3):
        c = b.softmax(2)
        s = (c.unsqueeze(3) * votes).sum(1)
        v = squash(s)
        b = b + (votes * v.unsqueeze(1)).sum(3)
    own, history = route(votes, 3)
    assert torch.allclose(own, s, atol=1e-5)
    assert torch.allclose(history[-1], c, atol=1e-5)


def test_routing_starts_even_and_every_part_is_shared_out_whole(net, x):
    seen = net.explore(x)
    assert len(seen.routing) == 3
    assert torch.allclose(seen.routing[0], torch.full_like(seen.routing[0], 0.1))
    for shares in seen.routing:
        assert shares.shape == (4, 288, 10)
        assert torch.allclose(shares.sum(2), torch.ones(4, 288), atol=1e-5)


def test_routing_moves_towards_the_class_on_which_the_votes_agree():
    rng = torch.Generator().manual_seed(0)
    votes = 0.3 * torch.randn(1, 20, 3, 8, generator=rng)
    votes[:, :, 1] += 1.0
    _, history = route(votes, 4)
    shares = [float(h[..., 1].mean()) for h in history]
    assert shares == sorted(shares)
    assert shares[-1] > 0.6


def test_the_logit_is_the_logit_of_the_length(net, x):
    seen = net.explore(x)
    assert torch.allclose(seen.lengths, seen.capsules.norm(dim=2), atol=1e-5)
    assert torch.allclose(seen.lengths.logit(), seen.logits, atol=1e-3)
    assert torch.equal(net(x), seen.logits)
    assert torch.equal(seen.lengths.argsort(1), seen.logits.argsort(1))


def test_shapes_and_the_number_of_iterations(net, x):
    seen = net.explore(x, iterations=5)
    assert len(seen.routing) == 5
    assert seen.primary.shape == (4, 288, 8)
    assert seen.votes.shape == (4, 288, 10, 16)
    assert seen.capsules.shape == (4, 10, 16)
    assert (seen.primary.norm(dim=2) < 1).all()


def test_a_vote_is_the_pose_transformed(net, x):
    seen = net.explore(x)
    expected = net.transform[7, 3] @ seen.primary[2, 7]
    assert torch.allclose(seen.votes[2, 7, 3], expected, atol=1e-5)


def test_the_reconstruction_depends_on_the_named_capsule_only(net, x):
    capsules = net.explore(x).capsules.detach()
    labels = torch.tensor([0, 1, 2, 3])
    drawn = net.reconstruct(capsules, labels)
    assert drawn.shape == x.shape
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    others = torch.rand(capsules.shape, generator=torch.Generator().manual_seed(0))
    others[torch.arange(4), labels] = capsules[torch.arange(4), labels]
    assert torch.equal(net.reconstruct(others, labels), drawn)
    assert not torch.equal(net.reconstruct(capsules, labels.flip(0)), drawn)


def test_with_the_papers_sizes_it_has_the_papers_number_of_parameters():
    net = CapsNet((1, 28, 28), 10, channels=256, types=32)
    # the paper's reference code gives 8,215,568 in all, of which 1,411,344 are the decoder's
    assert sum(p.numel() for p in net.decoder.parameters()) == 1_411_344
    assert count_parameters(net) == 8_215_568
