import math
from itertools import islice

import pytest
import torch

from lab import devices
from lab.images import Images
from lab.models.nets import build
from lab.models.weights import read_tensors
from lab.progress import Progress
from lab.training.fit import Augment, Settings, accuracy, fit, learning_rate
from lab.training.rules import PGD, Fast, Free, Standard, Trades, ascend, error
from lab.types import DataError, ModelError, ParamError

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def blobs():
    """Three classes, each a bright column at its own place; learnable in a few epochs."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(96) % 3
    x = 0.3 * torch.rand(96, *SHAPE, generator=rng)
    for i, label in enumerate(y):
        x[i, :, :, 2 * label : 2 * label + 2] += 0.6
    return Images(x, y, [str(i) for i in range(96)])


def small(seed=0, architecture="cnn"):
    return build(architecture, SHAPE, 3, seed=seed).to(devices.pick())


def weights(net):
    return [v.clone() for v in net.state_dict().values()]


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


RUN = {"epochs": 4, "batch": 32, "lr": 3e-3, "weight_average": 0.9, "weight_decay": 0.01}


def test_fit_learns_separable_classes(blobs):
    net = small()
    epochs = list(fit(net, blobs, Standard(), validate=blobs.rows(slice(0, 30)), **RUN | {"epochs": 8}))
    assert [e.number for e in epochs] == list(range(1, 9))
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].accuracy == 1.0
    assert epochs[-1].validation == {"clean": 1.0}
    assert not net.training


def test_every_epoch_draws_its_own_order_of_all_images(blobs):
    order = []

    def watched(net, x, y, rng):
        order.extend(x[:, 0, 0, 7].tolist())  # a value that is another in each image
        return Standard()(net, x, y, rng)

    list(fit(small(), blobs, watched, **RUN | {"epochs": 2}))
    first, second = order[:96], order[96:]
    assert sorted(first) == sorted(second) == sorted(blobs.x[:, 0, 0, 7].tolist())
    assert first != second


def test_weights_are_pulled_to_zero_and_biases_are_not(blobs):
    net, nothing = small(architecture="mlp"), lambda net, x, y, rng: 0 * net(x).sum()
    before = {name: p.clone() for name, p in net.named_parameters()}
    settings = {"epochs": 1, "batch": 96, "lr": 0.1, "schedule": "constant", "weight_decay": 0.5}
    list(fit(net, blobs, nothing, **settings))
    for name, p in net.named_parameters():
        assert torch.allclose(p, before[name] * (0.95 if p.dim() > 1 else 1), rtol=1e-5), name


def test_averaged_weights_keep_a_tenth_at_the_first_descent(blobs):
    """The share that is kept grows from there to the one that is asked for."""
    plain, averaged = small(architecture="mlp"), small(architecture="mlp")
    before, settings = weights(plain), {"epochs": 1, "batch": 96, "lr": 0.1, "schedule": "constant"}
    list(fit(plain, blobs, Standard(), **settings))
    list(fit(averaged, blobs, Standard(), weight_average=0.9, **settings))
    for start, end, mean in zip(before, weights(plain), weights(averaged), strict=True):
        assert torch.allclose(mean, start.lerp(end, 0.9), atol=1e-6)


def test_same_seed_same_weights_and_another_seed_others(blobs):
    nets = [small(), small(), small()]
    for net, seed in zip(nets, (5, 5, 6), strict=True):
        list(fit(net, blobs, Standard(), augment=Augment(shift=1, rotate=5), seed=seed, **RUN))
    a, b, c = map(weights, nets)
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.parametrize(
    "rule", [Standard(), PGD(eps=0.1, alpha=0.05, steps=2, ramp=0.5), Trades(eps=0.1, alpha=0.05, steps=2), Free()]
)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_resumed_run_ends_bit_for_bit_like_an_unstopped_one(blobs, tmp_path, rule, optimiser):
    run = {**RUN, "optimiser": optimiser, "augment": Augment(shift=1, flip=True)}
    straight = small()
    whole = list(fit(straight, blobs, rule, **run))
    stopped, resumed, file = small(), small(seed=9), tmp_path / "run.safetensors"
    first = list(islice(fit(stopped, blobs, rule, checkpoint=file, **run), 2))
    rest = list(fit(resumed, blobs, rule, checkpoint=file, **run))
    assert same(weights(straight), weights(resumed))
    assert [e.loss for e in first + rest] == [e.loss for e in whole]
    assert rest[-1].elapsed > sum(e.seconds for e in first)


def test_a_resumed_run_with_dropout_and_bfloat16_ends_alike_too(blobs, tmp_path):
    run = {**RUN, "precision": "bfloat16"}
    straight, resumed = small(architecture="maxout"), small(architecture="maxout")
    list(fit(straight, blobs, Standard(), **run))
    file = tmp_path / "run.safetensors"
    list(islice(fit(small(architecture="maxout"), blobs, Standard(), checkpoint=file, **run), 3))
    list(fit(resumed, blobs, Standard(), checkpoint=file, **run))
    assert same(weights(straight), weights(resumed))


def test_a_finished_run_gives_its_weights_and_its_last_epoch_again(blobs, tmp_path):
    first, again, file = small(), small(seed=3), tmp_path / "run.safetensors"
    epochs = list(fit(first, blobs, Standard(), checkpoint=file, **RUN))
    assert list(fit(again, blobs, Standard(), checkpoint=file, **RUN)) == epochs[-1:]
    assert same(weights(first), weights(again))


def test_a_checkpoint_of_another_run_is_refused(blobs, tmp_path):
    file = tmp_path / "run.safetensors"
    list(islice(fit(small(), blobs, Standard(), checkpoint=file, **RUN), 1))
    for rule, change in ((Standard(smoothing=0.1), {}), (Standard(), {"lr": 1e-4})):
        with pytest.raises(ModelError, match="another training run"):
            list(fit(small(), blobs, rule, checkpoint=file, **RUN | change))
    with pytest.raises(ModelError, match="another training run"):
        list(fit(small(architecture="mlp"), blobs, Standard(), checkpoint=file, **RUN))


def test_a_run_that_cannot_write_leaves_the_last_checkpoint_whole(blobs, tmp_path, monkeypatch):
    file = tmp_path / "run.safetensors"
    run = fit(small(), blobs, Standard(), checkpoint=file, **RUN)
    next(run)
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lab.models.weights.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        next(run)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
    read_tensors(file)


def test_cancelling_ends_between_batches_and_keeps_the_last_checkpoint(blobs, tmp_path):
    file, asked = tmp_path / "run.safetensors", []

    def stop():
        asked.append(1)
        return len(asked) > 5

    epochs = list(fit(small(), blobs, Standard(), checkpoint=file, progress=Progress(stop=stop), **RUN))
    assert len(epochs) == 1
    assert len(asked) == 6
    straight, resumed = small(), small()
    list(fit(straight, blobs, Standard(), **RUN))
    list(fit(resumed, blobs, Standard(), checkpoint=file, **RUN))
    assert same(weights(straight), weights(resumed))


def test_global_random_state_stays_as_it_was(blobs):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(fit(small(architecture="maxout"), blobs, Standard(), **RUN | {"epochs": 1}))
    assert torch.equal(before, torch.get_rng_state())


def test_without_averaging_an_epoch_of_sgd_is_what_a_plain_loop_does(blobs, device):
    net, twin = small(architecture="softmax"), small(architecture="softmax")
    list(fit(net, blobs, Standard(), epochs=1, batch=96, lr=0.1, optimiser="sgd", schedule="constant"))
    loss = torch.nn.functional.cross_entropy(twin(blobs.x.to(device)), blobs.y.to(device))
    gradients = torch.autograd.grad(loss, list(twin.parameters()))
    for p, own, g in zip(twin.parameters(), net.parameters(), gradients, strict=True):
        # the first Nesterov step with momentum 0.9 is 1.9 times the gradient
        assert torch.allclose(own, p - 0.1 * 1.9 * g, atol=1e-6)


def test_replaying_descends_several_times_on_each_batch(blobs):
    once, many = small(), small()
    run = {"epochs": 1, "batch": 96, "lr": 0.01, "optimiser": "sgd", "schedule": "constant"}
    list(fit(once, blobs, Free(eps=0.1, replays=1), **run))
    list(fit(many, blobs, Free(eps=0.1, replays=4), **run))
    start = weights(small())
    moved = [sum(float((a - b).norm()) for a, b in zip(weights(n), start, strict=True)) for n in (once, many)]
    assert moved[1] > 2 * moved[0]


def test_catastrophic_overfitting_ends_the_run_and_takes_the_epoch_back(blobs, monkeypatch):
    verdicts = iter(["", "", "catastrophic overfitting: constructed"])
    monkeypatch.setattr(Fast, "watch", lambda *_: next(verdicts))
    epochs = list(fit(small(), blobs, Fast(eps=0.1), **RUN))
    assert [e.note for e in epochs] == ["", "", "catastrophic overfitting: constructed"]
    kept = small()
    verdicts = iter(["", "stop"])
    run = fit(kept, blobs, Fast(eps=0.1), **RUN | {"weight_average": 0.0})
    next(run)
    after_first = weights(kept)
    next(run)
    assert same(weights(kept), after_first)


def test_a_diverging_run_says_so(blobs):
    def rule(net, x, y, rng):
        return net(x).sum() * float("nan")

    with pytest.raises(ModelError, match="lower the learning rate"):
        list(fit(small(), blobs, rule, **RUN))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ParamError, "epochs must lie between"),
        ({"lr": "fast"}, ParamError, "not a number"),
        ({"optimiser": "adagrad"}, ParamError, "one of adam, sgd"),
        ({"epoch": 3}, ParamError, "no parameter 'epoch'"),
    ],
)
def test_bad_settings_are_refused(blobs, settings, error, message):
    with pytest.raises(error, match=message):
        list(fit(small(), blobs, Standard(), **settings))


def test_no_images_is_refused(blobs):
    with pytest.raises(DataError, match="no images"):
        list(fit(small(), blobs.rows(slice(0, 0)), Standard()))


@pytest.mark.parametrize("schedule", ["one_cycle", "triangle"])
def test_schedules_rise_to_the_peak_and_fall_to_almost_nothing(schedule):
    s = Settings(lr=0.1, schedule=schedule)
    rates = [learning_rate(s, p / 100) for p in range(101)]
    assert rates.index(max(rates)) == 25
    assert max(rates) == pytest.approx(0.1)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] < 1e-4


def test_no_augmentation_is_the_identity_and_shifts_move_whole_pictures():
    rng = torch.Generator().manual_seed(0)
    x = torch.zeros(64, 1, 9, 9)
    x[:, :, 4, 4] = 1
    assert Augment()(x, rng) is x
    moved = Augment(shift=2.0)(x, rng)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert torch.allclose(moved.sum((1, 2, 3)), torch.ones(64), atol=1e-5)
    places = torch.arange(9.0)
    centre = (moved.sum(2).squeeze(1) * places).sum(1)
    assert (centre - 4).abs().max() <= 2.0 + 1e-5
    assert (centre - 4).abs().max() > 1.0


def test_shifts_by_whole_pixels_keep_every_value_and_reach_every_place():
    x = torch.zeros(200, 1, 7, 7)
    x[:, 0, 3, 3] = 0.7
    out = Augment(shift=1, whole=True)(x, torch.Generator().manual_seed(0))
    assert torch.allclose(out.flatten(1).amax(1), torch.full((200,), 0.7), atol=1e-5)
    counts = out.flatten(1).argmax(1).bincount(minlength=49).view(7, 7)
    assert counts[2:5, 2:5].sum() == 200
    assert counts[2:5, 2:5].min() > 8


def test_flipping_mirrors_some_pictures_and_leaves_the_others():
    x = torch.rand(1, 1, 6, 6).expand(40, 1, 6, 6).contiguous()
    out = Augment(flip=True)(x, torch.Generator().manual_seed(0))
    mirrored = [torch.allclose(o, x[0].flip(2), atol=1e-5) for o in out]
    kept = [torch.allclose(o, x[0], atol=1e-5) for o in out]
    assert all(m or k for m, k in zip(mirrored, kept, strict=True))
    assert any(mirrored)
    assert any(kept)


def test_rotation_turns_by_no_more_than_asked():
    x = torch.zeros(1, 1, 41, 41).expand(50, 1, 41, 41).clone()
    x[:, :, 20, 36] = 1
    out = Augment(rotate=20)(x, torch.Generator().manual_seed(0)).squeeze(1)
    yx = torch.stack(torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij"))
    spot = (out.unsqueeze(1) * yx).sum((2, 3)) / out.sum((1, 2)).unsqueeze(1) - 20
    angle = torch.atan2(spot[:, 0], spot[:, 1]).abs()
    assert angle.max() <= math.radians(20) + 0.05
    assert angle.max() > math.radians(10)
    assert torch.allclose(spot.norm(dim=1), torch.full((50,), 16.0), atol=0.6)


def test_an_attack_measures_one_step_beside_many(blobs, device):
    net, held = small(), blobs.rows(slice(0, 30))
    attack = {"eps": 0.3, "alpha": 0.1, "steps": 5}
    (epoch,) = fit(net, blobs, Standard(), validate=held, attack=attack, **RUN | {"epochs": 1})
    assert set(epoch.validation) == {"clean", "fgsm", "robust"}
    x, y = held.x.to(device), held.y.to(device)
    z = ascend(error(net, y), x, x, eps=0.3, alpha=0.3, steps=1)
    assert epoch.validation["fgsm"] == accuracy(net, z, y)
    assert epoch.validation["robust"] <= epoch.validation["fgsm"] <= epoch.validation["clean"]
