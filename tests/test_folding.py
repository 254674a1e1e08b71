"""Folding: the faster equal of a network answers the same, and whatever has none stays as it is."""

import copy
import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lab
from lab import folding
from lab.folding import fold
from tests.support.nets import images


class Padded(nn.Conv2d):
    """Pads more on the right and below, as TensorFlow does, then convolves without padding."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


def network(*, stride=2, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        Padded(3, 8, 3, stride=stride, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.BatchNorm2d(6, affine=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 10),
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.1, 0.5)
    return net.eval()


def gradient(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).square().sum(), x)[0]


def test_norms_and_padding_are_folded_into_convolutions_and_nothing_else_changes():
    net, x = network(), images(4, 3)
    before = copy.deepcopy(net.state_dict())
    found = fold(net, x)
    assert not any(isinstance(m, nn.BatchNorm2d | Padded) for m in found.model.modules())
    assert torch.allclose(found.model(x), net(x), atol=1e-5)
    assert torch.allclose(gradient(found.model, x), gradient(net, x), atol=1e-5)
    assert 0 <= found.error < 1e-5
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 2


def test_it_is_kept_until_the_weights_change():
    net, x = network(), images(4, 3)
    first = fold(net, x).model.model
    assert fold(net, x).model.model is first
    with torch.no_grad():
        net[0].weight.mul_(1.5)
    changed = fold(net, x).model.model
    assert changed is not first
    assert torch.allclose(changed(x), net(x), atol=1e-5)
    net[3].weight.data *= 0.5  # a way to write that leaves no trace in the tensor's version
    assert torch.allclose(fold(net, x).model(x), net(x), atol=1e-5)


class Straight(torch.autograd.Function):
    """Rounds forwards, lets the gradient through backwards."""

    @staticmethod
    def forward(ctx, x):
        return (x * 15).round() / 15

    @staticmethod
    def backward(ctx, g):
        return g


class Rounded(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(Straight.apply(x))


def test_a_backward_of_its_own_is_kept():
    net, x = Rounded().eval(), images(4, 3)
    assert gradient(net, x).abs().sum() > 0
    assert torch.allclose(gradient(fold(net, x).model, x), gradient(net, x), atol=1e-5)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.asked, self.seen = network(), 0, []

    def forward(self, x):
        self.asked += len(x)
        self.seen.append(len(x))
        return self.net(x)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x + 0.5 * torch.randn_like(x))


class Twice(nn.Module):
    """Uses what a convolution answers with its norm and without."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10)
        nn.init.uniform_(self.norm.running_var, 0.1, 0.5)

    def forward(self, x):
        y = self.conv(x)
        return (y + self.norm(y)).mean((2, 3))


class ReadsItsBias(nn.Module):
    """Uses a bias that folding changes: other logits, the same gradient."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x) + self.net[3].bias.sum()


def hooked():
    net = network()
    net[3].register_forward_hook(lambda module, given, answer: answer * 2)
    return net


@pytest.mark.parametrize("make", [Counting, Noisy, Twice, ReadsItsBias, hooked, lambda: network().eval().forward])
def test_what_a_copy_would_not_do_the_same_stays_as_it_is(make):
    model, x = make(), images(4, 3)
    if isinstance(model, nn.Module):
        model.eval()
    state = torch.get_rng_state()
    assert fold(model, x).model.model is model
    assert torch.equal(torch.get_rng_state(), state)
    if isinstance(model, Counting):
        assert model.seen == [2, 1], "it was looked at, and watched on no image's way"


def test_the_verdict_is_the_models_own():
    """Success, classes and confidence are those of the model itself at the image that is handed back."""
    net, x = network(), images(8, 3)
    y = net(x).argmax(1)
    for key in ("bim", "deepfool", "fmn"):
        result = lab.attack(key, net, x, y)
        with torch.no_grad():
            logits = net(result.x)
        assert torch.equal(result.predictions, logits.argmax(1))
        assert torch.allclose(result.confidence, logits.softmax(1).amax(1), rtol=0, atol=1e-6)
        assert torch.equal(result.success, logits.argmax(1) != y)


def test_the_lites_lose_their_norms_and_most_of_their_padding():
    model = lab.load_model("imagenet/efficientnet_lite0")
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    fast = fold(model, x).model.model
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    first, *others = (type(m) for m in fast.modules() if isinstance(m, nn.Conv2d))
    assert first is folding._Stem
    assert set(others) == {nn.Conv2d}
    with torch.no_grad():
        assert torch.allclose(fast(x), model(x), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [(4, 2, 1, 28), (3, 2, 1, 29), (7, 2, 3, 33), (5, 3, (0, 2), 20), (2, 3, 0, 17), ((3, 5), 2, (1, 0), (11, 14))],
)
def test_a_first_convolution_with_a_stride_has_the_same_gradient(channels, kernel, stride, padding, size):
    torch.manual_seed(0)
    first = nn.Conv2d(channels, 32, kernel, stride, padding)
    net = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    x = torch.rand(3, channels, *(size if isinstance(size, tuple) else (size, size)))
    net(x)
    fast = fold(net.eval().requires_grad_(False), x).model.model
    assert type(fast[0]) is folding._Stem
    assert type(net[0]) is nn.Conv2d
    assert torch.allclose(fast(x), net(x), atol=1e-5)
    right = gradient(net, x)
    assert torch.allclose(gradient(fast, x), right, atol=1e-5 * float(right.abs().max()))


class Branching(nn.Module):
    """Another batch norm for dark images."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.dark, self.bright, self.head = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.Linear(8, 10)
        nn.init.constant_(self.dark.running_var, 4.0)
        nn.init.constant_(self.dark.bias, 1.0)

    def forward(self, x):
        h = self.conv(x)
        bright = (x.flatten(1).mean(1) > 0.5).view(-1, 1, 1, 1)
        if bright.all():
            h = self.bright(h)
        elif not bright.any():
            h = self.dark(h)
        else:
            h = torch.where(bright, self.bright(h), self.dark(h))
        return self.head(torch.relu(h).mean((2, 3)))


@pytest.mark.parametrize("key", ["deepfool", "fmn", "pgd"])
def test_what_is_found_does_not_depend_on_which_image_comes_first(key):
    bright, dark = images(5, 3) * 0.4 + 0.6, images(2, 3) * 0.3
    alone = Branching().eval()
    found = lab.attack(key, alone, dark, alone(dark).argmax(1))
    model, both = Branching().eval(), torch.cat([bright, dark])
    together = lab.attack(key, model, both, model(both).argmax(1))
    assert torch.equal(together.success[5:], found.success)
    assert torch.equal(together.success, model(together.x).argmax(1) != model(both).argmax(1)), (
        "the model has the last word"
    )


class Quantised(nn.Module):
    """The same answers with and without a straight-through gradient."""

    straight = False

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        q = (x * 7).round() / 7
        return self.net(x + (q - x).detach() if self.straight else q)


def test_a_backward_that_is_switched_is_followed():
    model, x = Quantised().eval(), images(4, 3)
    y = model(x).argmax(1)
    lab.attack("pgd", model, x, y, eps=0.2)
    model.straight = True
    fresh = Quantised().eval()
    fresh.straight = True
    assert torch.equal(lab.attack("pgd", model, x, y, eps=0.2).x, lab.attack("pgd", fresh, x, y, eps=0.2).x)


MANNERS = ("branch", "branch on the batch", "clip", "round", "straight", "shared", "counts", "own weights")


class Odd(nn.Module):
    """A network with any of the manners that a faster equal may miss.

    It takes another batch norm for bright images (or for a batch that begins with one), clips what it is given, rounds
    with or without a straight-through gradient, uses a convolution twice, counts its calls, and makes its weights anew.
    """

    def __init__(self, manners, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.manners, self.calls = manners, 0
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norms, self.head = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3)), nn.Linear(8, 10)
        for norm in self.norms:
            nn.init.uniform_(norm.running_mean, -0.3, 0.3)
            nn.init.uniform_(norm.running_var, 0.1, 0.5)
            nn.init.normal_(norm.bias)

    def forward(self, x):
        if "counts" in self.manners:
            self.calls += 1
        if "clip" in self.manners:
            x = x.clamp(0.2, 0.7)
        if "round" in self.manners:
            x = (x * 15).round() / 15
        if "straight" in self.manners:
            x = x + ((x * 15).round() / 15 - x).detach()
        if "own weights" in self.manners:
            with torch.no_grad():
                self.first.weight.copy_(self.first.weight.clone())
        h = self.first(x)
        bright = (x.flatten(1).mean(1) > 0.5).view(-1, 1, 1, 1)
        if "branch on the batch" in self.manners:
            h = self.norms[0](h) if bright[0] else self.norms[1](h)
        elif "branch" in self.manners:
            h = torch.where(bright, self.norms[0](h), self.norms[1](h))
        else:
            h = self.norms[0](h)
        h = torch.relu(h)
        for _ in range(2 if "shared" in self.manners else 1):
            h = torch.relu(self.norms[2](self.second(h)))
        return self.head(h.mean((2, 3)))


@settings(derandomize=True, database=None, deadline=None, max_examples=25)
@given(
    manners=st.sets(st.sampled_from(MANNERS), max_size=3),
    seed=st.integers(0, 1000),
    key=st.sampled_from(["pgd", "deepfool", "fmn", "square"]),
    order=st.permutations(range(6)),
)
def test_whatever_a_model_does_success_is_true_and_no_matter_of_order(manners, seed, key, order):
    model, order = Odd(manners, seed).eval(), list(order)
    x = images(6, 3, seed=seed) * torch.linspace(0.2, 1, 6).view(-1, 1, 1, 1)
    y = torch.cat([model(row) for row in x.split(1)]).argmax(1)
    params = {"eps": 0.05, "steps": 20} if key in ("pgd", "square") else {"steps": 8}
    found = lab.attack(key, model, x, y, **params)
    assert torch.equal(found.success, model(found.x).argmax(1) != y)
    if "branch on the batch" not in manners:  # such a model says itself another thing in another order
        again = lab.attack(key, Odd(manners, seed).eval(), x[order], y[order], **params)
        assert torch.equal(again.success, found.success[order])


@settings(derandomize=True, database=None, deadline=None, max_examples=10)
@given(first=st.sampled_from(["round", "straight", "clip"]), then=st.sampled_from(["round", "straight", "clip"]))
def test_a_model_that_was_switched_is_attacked_as_it_is_now(first, then):
    x = images(4, 3)
    model, fresh = Odd({first}, 5).eval(), Odd({then}, 5).eval()
    y = model(x).argmax(1)
    lab.attack("pgd", model, x, y, eps=0.1)
    model.manners = {then}
    assert torch.equal(lab.attack("pgd", model, x, y, eps=0.1).x, lab.attack("pgd", fresh, x, y, eps=0.1).x)


class WithFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)
        self.pool = lambda h: h.mean((2, 3)) + self.training

    def forward(self, x):
        return self.head(self.pool(torch.relu(self.conv(x))))


@pytest.mark.parametrize("kind", [network, WithFunction])
def test_an_attacked_network_is_freed_like_any_other(kind):
    def attacked():
        model = kind().eval()
        lab.attack("fgsm", model, images(2, 3), [0, 1])
        return weakref.ref(model)

    left = [attacked() for _ in range(3)]
    gc.collect()
    assert [ref() for ref in left] == [None] * 3


def test_a_model_of_the_lab_is_loaded_as_usual_in_inference_mode():
    data = lab.load_data("mnist").rows(slice(0, 3))
    with torch.inference_mode():
        loaded = lab.load_model("mnist/cnn_half_a")
    assert not any(p.is_inference() for p in loaded.parameters())
    assert torch.equal(
        lab.attack("pgd", loaded, data.x, data.y, eps=0.2).x,
        lab.attack("pgd", lab.load_model("mnist/cnn_half_a"), data.x, data.y, eps=0.2).x,
    )
