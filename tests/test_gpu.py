"""What only a real card can show; everything else of devices is in test_devices.py and test_card.py."""

import threading

import pytest
import torch

import lab
from lab import devices
from lab.experiments.doctor.installation import examine
from lab.models.nets import build
from lab.predict import logits_of
from lab.ui.shell.jobs import Job

pytestmark = pytest.mark.gpu
DATA = lab.load_data("mnist").rows(slice(0, 32))


@pytest.fixture(autouse=True)
def _on_the_card():
    before = devices._chosen
    devices.choose("cuda")
    yield
    devices.choose(before)


def test_verdicts_are_those_of_the_cpu_to_rounding():
    there, here = lab.load_model("mnist/cnn"), lab.load_model("mnist/cnn").to("cpu")
    assert torch.allclose(logits_of(there, DATA.x), logits_of(here, DATA.x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", ["fgsm", "pgd", "deepfool", "cw", "apgd", "square"])
def test_an_attack_reaches_what_it_reaches_on_the_cpu(key):
    """The same random numbers; TF32 in the steps and another order of additions leave one image in sixteen."""
    results = [lab.attack(key, lab.load_model("mnist/cnn").to(place), DATA.x, DATA.y) for place in ("cuda", "cpu")]
    there, here = (r.success for r in results)
    assert int((there != here).sum()) <= 2
    assert there.device.type == "cpu"


def test_memory_comes_back_after_a_job():
    def work(progress):
        yield float(torch.ones(2**28, device="cuda").sum())

    torch.cuda.empty_cache()
    before = torch.cuda.mem_get_info()[0]
    assert Job("sums", "key").run(work) == 2**28
    assert torch.cuda.mem_get_info()[0] >= before - 2**26


def test_a_batch_that_does_not_fit_goes_on_in_parts():
    free = torch.cuda.mem_get_info()[0]
    hoard = torch.empty(max(0, free - 3 * 2**30), dtype=torch.uint8, device="cuda")
    model = build("cnn", (3, 224, 224), 10).eval().requires_grad_(False).to("cuda")
    x = torch.rand(512, 3, 224, 224)
    with pytest.warns(lab.LabWarning, match="memory is short"):
        found = logits_of(model, x, rows=len(x))
    del hoard
    assert torch.allclose(found, logits_of(model, x, rows=16), atol=1e-3)


def test_two_sessions_at_once_find_what_each_finds_alone():
    def found(seed):
        return lab.attack("pgd", lab.load_model("mnist/cnn"), DATA.x, DATA.y, seed=seed, steps=20).x

    alone, together = [found(seed) for seed in (1, 2)], {}
    threads = [threading.Thread(target=lambda s=s: together.update({s: found(s)})) for s in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, right in zip((1, 2), alone, strict=True):
        assert torch.allclose(together[seed], right, atol=1e-6)


def test_the_doctor_finds_the_same_verdict_on_every_device():
    found = [each for each in examine(lab.__version__) if each.about == "self-test"]
    assert len(found) == len(devices.present())
    assert {each.state for each in found} == {"well"}
