import pickle

import pytest
import torch
from safetensors.torch import save_file

from lab.models.nets import build
from lab.models.weights import load_into, read_tensors, save_weights
from lab.types import ModelError
from tests.support.refusals import refused

SHAPE = (1, 8, 8)


@pytest.fixture
def net():
    return build("mlp", SHAPE, 3, seed=1)


@pytest.fixture
def file(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(net, path, about={"architecture": "mlp"})
    return path


def test_weights_come_back_bit_for_bit(net, file):
    other = build("mlp", SHAPE, 3, seed=2)
    assert load_into(other, file) is other
    x = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(other(x), net(x))
    assert read_tensors(file)[1] == {"architecture": "mlp"}


def test_channels_last_weights_come_back_too(tmp_path):
    net = build("cnn", SHAPE, 3, seed=1).to(memory_format=torch.channels_last)
    save_weights(net, tmp_path / "cnn.safetensors")
    other = load_into(build("cnn", SHAPE, 3), tmp_path / "cnn.safetensors")
    pairs = zip(net.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_half_precision_halves_the_file_and_loads_as_float32(net, file, tmp_path):
    half = tmp_path / "half.safetensors"
    save_weights(net, half, dtype=torch.float16)
    assert half.stat().st_size < 0.6 * file.stat().st_size
    other = load_into(build("mlp", SHAPE, 3), half)
    for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert b.dtype == torch.float32
        assert torch.equal(a.half().float(), b)


def not_loaded(path, *words, architecture="mlp", classes=3):
    """Expects that a file is refused in these words and that the net stays as it was."""
    net = build(architecture, SHAPE, classes)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with refused(ModelError, *words):
        load_into(net, path)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_refused(file, share):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    not_loaded(file, "not a whole safetensors file")


def test_noise_is_refused(tmp_path):
    path = tmp_path / "noise.safetensors"
    path.write_bytes(bytes(range(256)) * 10)
    not_loaded(path, "not a whole safetensors file")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_pickles_are_refused_and_never_opened(net, tmp_path):
    path = tmp_path / "net.pt"
    torch.save(net.state_dict(), path)
    not_loaded(path, "is a pickle")
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
        not_loaded(path, "is a pickle")
    path.write_bytes(pickle.dumps(Bomb(), protocol=0))
    not_loaded(path, "not a whole safetensors file")


def test_another_architecture_is_refused(file, net):
    not_loaded(file, "another architecture: it lacks", architecture="cnn")
    not_loaded(file, "another architecture: ", " is ", " instead of ", classes=4)
    tensors = net.state_dict() | {"extra": torch.zeros(1)}
    save_file(tensors, file)
    not_loaded(file, "another architecture: it has extra besides")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(net, file, bad):
    with torch.no_grad():
        net[1].bias[2] = bad
    save_weights(net, file)
    not_loaded(file, "NaN or infinity in 1.bias")


def test_numbers_too_large_for_half_precision_are_refused_when_loaded(net, file):
    with torch.no_grad():
        net[1].bias[2] = 1e6
    save_weights(net, file, dtype=torch.float16)
    not_loaded(file, "NaN or infinity")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    not_loaded(tmp_path / "none.safetensors", "no weights file")
    not_loaded(tmp_path, "no weights file")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(net, file, monkeypatch):
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lab.models.weights.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(build("mlp", SHAPE, 3, seed=7), file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
