"""One perturbation for all images: optimal where that is known, and fooling a real network on most."""

import pytest
import torch

import lab
from lab.attacks.universal import Universal, _summed_gradient
from lab.types import Goal
from tests.support.nets import Small, images
from tests.support.optimum import DUAL, centred


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_images_of_one_class_of_a_linear_model_all_fall_just_beyond_the_farthest(norm, targeted):
    """The best perturbation of each is that of all, so the farthest image decides."""
    model = centred(2)
    x = 0.35 + 0.3 * torch.rand(60, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        logits = model(x)
        x = x[logits.argmax(1) == 0]
        margin = Goal(torch.zeros(len(x), dtype=torch.int64)).margin(model(x))
        radius = (margin / (model.w[0] - model.w[1]).norm(p=DUAL[norm])).max().item()
    assert len(x) > 10
    settings = {"norm": norm, "target": 1 if targeted else None}
    assert lab.attack("universal", model, x, 0, eps=1.01 * radius, **settings).success.all()
    below = lab.attack("universal", model, x, 0, eps=0.99 * radius, **settings).success
    assert below.sum() == len(x) - 1


def test_the_gradient_is_cut_into_calls_and_leaves_out_whom_it_need_not_convince(monkeypatch):
    model, x = Small().double(), images(7).double()
    with torch.no_grad():
        y = model(x).argmax(1)
    goal = Goal(torch.where(torch.arange(7) < 5, y, (y + 1) % 10))  # the last two are fooled already
    logits, whole = _summed_gradient(model, x, goal)
    monkeypatch.setattr("lab.attacks.black_box.VALUES", {"cpu": 3 * x[0].numel()})
    calls = []

    def counted(x):
        calls.append(len(x))
        return model(x)

    again, cut = _summed_gradient(counted, x, goal)
    assert calls == [3, 3, 1]
    assert torch.allclose(whole, cut, rtol=0, atol=1e-12)
    assert torch.allclose(logits, again, rtol=0, atol=1e-12)
    beyond = goal.margin(logits) < -1
    assert beyond.any()
    _, rest = _summed_gradient(model, x[~beyond], goal.rows(~beyond))
    assert torch.allclose(whole, rest, rtol=0, atol=1e-12)


def test_one_perturbation_fools_a_real_network_on_most_garments():
    model, data = lab.load_model("fashion_mnist/cnn"), lab.load_data("fashion_mnist").rows(slice(0, 40))
    with torch.no_grad():
        right = model(data.x).argmax(1) == data.y
    x, y = data.x[right], data.y[right]
    result = lab.attack("universal", model, x, y, eps="32/255")
    assert result.success.double().mean() > 0.85
    generator = torch.Generator().manual_seed(0)
    noise = (torch.randint(0, 2, x[:1].shape, generator=generator) * 2 - 1) * 32 / 255
    with torch.no_grad():
        assert (model((x + noise).clamp(0, 1)).argmax(1) != y).double().mean() < result.success.double().mean() - 0.3


def test_the_step_is_a_share_of_eps_unless_given():
    assert Universal(eps=0.2, steps=10).step_size == pytest.approx(0.2)
    assert Universal(eps=0.2, steps=10, alpha=0.01).step_size == 0.01


def test_a_batch_larger_than_memory_still_gets_one_perturbation(monkeypatch):
    """The calls of the model are cut, also the driver's own; the images are not."""
    model, x = Small().double(), images(9).double()
    with torch.no_grad():
        y = model(x).argmax(1)
    whole = lab.attack("universal", model, x, y, eps=0.1, steps=4, trace=True)
    monkeypatch.setattr("lab.devices.SMALL", 1)
    monkeypatch.setattr("lab.devices.CPU_BUDGET", 1)
    sizes = []

    def seen(x):
        sizes.append(len(x))
        return model(x)

    monkeypatch.setattr("lab.attacks.black_box.VALUES", {"cpu": 3 * x[0].numel()})
    cut = lab.attack("universal", seen, x, y, eps=0.1, steps=4, trace=True, drop_solved=True)
    assert max(sizes) <= 3
    assert torch.allclose(cut.x, whole.x, rtol=0, atol=1e-9)
    assert len(cut.frames) == len(whole.frames)
