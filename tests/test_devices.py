"""Devices: chosen by name, in full precision where it counts, going on with less where memory is short."""

import threading

import pytest
import torch

import lab
from lab import devices
from lab.cli import main
from lab.defenses.catalog import detector
from lab.defenses.detect import scores
from lab.defenses.smoothing import votes
from lab.predict import logits_of
from tests.support.nets import Small, images
from tests.support.refusals import refused

X, Y = images(9), torch.arange(9) % 10


@pytest.fixture(autouse=True)
def _chosen_anew():
    before = devices._chosen
    yield
    devices.choose(before)


def test_a_device_is_chosen_by_name_or_by_the_environment(monkeypatch):
    devices.choose(None)
    monkeypatch.setenv("LAB_DEVICE", "card")
    assert devices.pick() == torch.device("card")
    assert next(lab.load_model("mnist/softmax").parameters()).device.type == "card"
    devices.choose("CPU")
    assert devices.pick() == torch.device("cpu")
    assert devices.cards() == []


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "meta", "cpu:1", "card:1"])
def test_a_device_that_is_not_here_is_one_sentence(name, monkeypatch, capsys):
    said = f"there is no device '{name}' here: LAB_DEVICE and --device take cpu"
    with refused(lab.ParamError, said):
        devices.choose(name)
    assert (
        main(["attack", "--model", "mnist/softmax", "--attack", "fgsm", "--dataset", "mnist", f"--device={name}"]) == 2
    )
    assert capsys.readouterr().err.startswith(f"lab: {said}")
    devices.choose(None)
    monkeypatch.setenv("LAB_DEVICE", name)
    with refused(lab.ParamError, said):
        lab.load_model("mnist/softmax")


def test_every_command_takes_a_device():
    from lab.cli import parser

    for name, command in next(a for a in parser()._actions if a.choices).choices.items():
        assert "--device" in command.format_help(), name


def switches():
    b = torch.backends
    return (
        b.cuda.matmul.fp32_precision,
        b.cudnn.conv.fp32_precision,
        b.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(),
    )


class Watching(Small):
    """Remembers what torch was allowed at each look without a gradient, and at each with one."""

    def __init__(self):
        super().__init__()
        self.alone, self.steps = [], []

    def forward(self, x):
        (self.steps if x.requires_grad else self.alone).append(switches()[:2])
        return super().forward(x)


@pytest.fixture
def rough():
    """Fewer digits are allowed, as by default on a card."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield ("tf32", "tf32")
    torch.set_float32_matmul_precision(before)


def test_verdicts_are_in_full_precision_and_gradients_as_the_caller_has_it(rough):
    model, before = Watching().eval(), switches()
    result = lab.attack("pgd", model, X, Y, steps=3)
    assert model.steps[-1] == rough, "steps follow the switch"
    assert model.alone[-1] == ("ieee", "ieee"), "the verdict does not"
    model.alone.clear()
    logits_of(model, X)
    votes(model, X[0], 0.1, 5, 0)
    scores(detector("squeezing"), model, X)
    assert set(model.alone) == {("ieee", "ieee")}
    assert switches() == before
    assert torch.equal(result.predictions, model(result.x).argmax(1))


def test_the_switches_are_put_back_when_the_last_is_done(rough):
    before, inside, seen = switches(), threading.Event(), threading.Event()

    def other():
        with devices.full_precision():
            inside.set()
            seen.wait(5)

    thread = threading.Thread(target=other)
    with devices.full_precision():
        thread.start()
        inside.wait(5)
    assert switches()[:2] == ("ieee", "ieee"), "the other one still computes"
    seen.set()
    thread.join()
    assert switches() == before


def test_switches_that_contradict_each_other_stay_as_they_were():
    try:
        torch.backends.cudnn.conv.fp32_precision = (
            "ieee"  # the older switch, which is still on, cannot be read any more
        )
        with devices.full_precision():
            assert torch.backends.cudnn.rnn.fp32_precision == "ieee"
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cudnn.rnn.fp32_precision == "tf32"
    finally:
        torch.backends.cudnn.conv.fp32_precision = "tf32"
    assert torch.backends.cudnn.allow_tf32


class Narrow(Small):
    """Has memory for so many images only."""

    def __init__(self, room):
        super().__init__()
        self.room, self.asked = room, []

    def forward(self, x):
        self.asked.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().forward(x)


@pytest.mark.parametrize("key", ["pgd", "deepfool", "cw", "square"])
def test_where_memory_is_short_the_work_goes_on_with_fewer_images(key):
    params, model = {"steps": 5} | ({"searches": 2} if key == "cw" else {}), Narrow(3).eval()
    with pytest.warns(lab.LabWarning, match="memory is short: the work goes on with fewer images"):
        narrow = lab.attack(key, model, X, Y, **params)
    assert sum(asked > 3 for asked in model.asked) <= 3, "what is known to be too much is not asked again and again"
    whole = lab.attack(key, Small().eval(), X, Y, **params)
    assert torch.equal(narrow.success, whole.success)
    assert torch.allclose(narrow.x, whole.x, atol=1e-5)


LOOKS = {
    "logits": lambda model: logits_of(model, X),
    "votes": lambda model: votes(model, X[0], 0.3, 40, 0),
    "suspicion": lambda model: scores(detector("squeezing"), model, X),
}


@pytest.mark.parametrize("look", LOOKS)
def test_looks_votes_and_detectors_go_on_with_fewer_images(look):
    narrow = Narrow(4).eval()
    with pytest.warns(lab.LabWarning, match="memory is short"):
        found = LOOKS[look](narrow)
    assert torch.allclose(found, LOOKS[look](Small().eval()), atol=1e-6)
    assert sum(asked > 4 for asked in narrow.asked) <= 4, "what is known to be too much is not asked again and again"


@pytest.mark.filterwarnings("ignore:the device's memory is short")
@pytest.mark.parametrize("work", [lambda m: lab.attack("fgsm", m, X, Y), *LOOKS.values()])
def test_where_not_even_one_image_fits_it_is_told_in_one_sentence(work):
    with pytest.raises(lab.ModelError, match=r"not even one image fits into the memory of .*: use a smaller model"):
        work(Narrow(0).eval())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "does not suffice: take fewer images or a smaller model"),
        (torch.AcceleratorError("CUDA error: device-side assert triggered\nmore"), "device-side assert triggered"),
    ],
)
def test_a_device_that_fails_is_told_in_one_sentence(error, said, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(lab, "attack", fail)
    assert main(["attack", "--model", "mnist/softmax", "--attack", "fgsm", "--dataset", "mnist", "--limit", "2"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert devices.trouble(RuntimeError("something else")) is None


def test_data_and_pictures_lie_where_they_are_wanted():
    data, model = lab.load_data("mnist", device="card"), lab.load_model("mnist/softmax")
    assert data.x.device.type == data.y.device.type == "card"
    assert lab.load_data("mnist").x.device.type == "cpu"
    assert lab.load_picture("cat", model.card, device="card").device.type == "card"
