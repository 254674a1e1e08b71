import pytest
import torch

from lab.models.nets import NETS, Maxout, build, count_parameters
from lab.types import ModelError


def rng():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("architecture", NETS)
@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((3, 32, 32), 4)])
def test_every_net_takes_its_shape_and_answers_its_classes(architecture, shape, classes):
    net = build(architecture, shape, classes).eval()
    logits = net(torch.rand(3, *shape, generator=rng()))
    assert logits.shape == (3, classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("architecture", NETS)
def test_an_images_logits_do_not_depend_on_the_batch_around_it(architecture):
    net = build(architecture, (1, 28, 28), 10).eval()
    x = torch.rand(3, 1, 28, 28, generator=rng())
    assert torch.allclose(net(x)[1:2], net(x[1:2]), atol=1e-4)


@pytest.mark.parametrize("architecture", NETS)
def test_the_gradient_reaches_the_image(architecture):
    net = build(architecture, (1, 28, 28), 10, seed=1).eval()
    if architecture == "rbf":
        net.place(torch.rand(500, 1, 28, 28, generator=rng()), torch.arange(500) % 10, rng())
    x = torch.rand(1, 1, 28, 28, generator=rng()).requires_grad_()
    (g,) = torch.autograd.grad(net(x)[0, 0], x)
    assert g.isfinite().all()
    assert g.abs().max() > 0


def test_the_same_seed_gives_the_same_weights_and_leaves_global_random_state_alone():
    before = torch.get_rng_state()
    a, b, c = (build("cnn", (1, 28, 28), 10, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["0.weight"], c["0.weight"])


def test_sizes_are_those_of_the_papers():
    assert count_parameters(build("softmax", (1, 28, 28), 10)) == 7_850
    assert count_parameters(build("mlp", (1, 28, 28), 10)) == 89_610
    assert count_parameters(build("maxout", (1, 28, 28), 10)) == 785 * 1200 + 241 * 1200 + 2_410


def test_a_maxout_unit_is_the_largest_of_its_pieces():
    layer = Maxout(6, 4, 3)
    x = torch.rand(5, 6, generator=rng())
    pieces = layer.linear(x).view(5, 4, 3)
    assert torch.equal(layer(x), pieces.max(2).values)


def test_a_maxout_unit_of_two_opposite_pieces_is_the_absolute_value():
    layer = Maxout(1, 1, 2)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.linear.bias.zero_()
    x = torch.tensor([[-2.0], [0.5]])
    assert torch.equal(layer(x), x.abs())


def test_the_rbf_net_is_sure_on_its_centres_and_unsure_away_from_them():
    x = torch.rand(200, 1, 28, 28, generator=rng())
    y = torch.arange(200) % 10
    net = build("rbf", (1, 28, 28), 10).eval()
    net.place(x, y, rng())
    assert (net(x).argmax(1) == y).float().mean() > 0.9
    away = 3 * torch.randn(50, 1, 28, 28, generator=rng())
    assert torch.allclose(net(away).softmax(1), torch.full((50, 10), 0.1), atol=1e-4)


def test_an_rbf_unit_answers_one_at_its_centre_and_falls_with_the_distance():
    net = build("rbf", (1, 4, 4), 3)
    centre = net.centres[:1].detach().view(1, 1, 4, 4)
    assert net.units(centre)[0, 0].item() == pytest.approx(1.0, abs=1e-5)
    width = net.log_width[0].exp().item()
    moved = centre.clone()
    moved[0, 0, 0, 0] += width
    assert net.units(moved)[0, 0].item() == pytest.approx(torch.tensor(-1.0).exp().item(), abs=1e-5)


def test_an_unknown_architecture_or_option_or_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ModelError, match="no architecture 'vgg'"):
        build("vgg", (1, 28, 28), 10)
    with pytest.raises(ModelError, match="cannot be built"):
        build("softmax", (1, 28, 28), 10, depth=3)
    with pytest.raises(ModelError, match="cannot be built"):
        build("capsnet", (1, 12, 12), 10)
