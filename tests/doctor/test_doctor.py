"""The doctor says what is there, and what is wrong, of the installation that it is run in."""

import json

import pytest
import torch

import lab
from lab import devices
from lab.cli import main
from lab.experiments.doctor import installation
from lab.experiments.doctor.installation import Finding, Installation, examine


@pytest.fixture(autouse=True)
def _chosen_anew():
    before = devices._chosen
    yield
    devices.choose(before)


def told(about):
    return {each.what: each for each in examine(lab.__version__) if each.about == about}


def test_it_prints_a_page_and_writes_it(capsys, tmp_path):
    file = tmp_path / "found.json"
    assert main(["doctor", "--json", str(file)]) == 0
    out, record = capsys.readouterr().out, json.loads(file.read_text())
    assert record["sound"]
    for each in record["findings"]:
        assert each["what"] in out
        assert each["found"] in out
    found = {each["what"]: each["found"] for each in record["findings"]}
    assert torch.__version__.startswith(found["torch"].partition("+")[0])
    assert found["lab"] == lab.__version__
    assert found["models"].startswith("29 of ")
    assert "imagenet/resnet50" in found["fetched at first use"]
    assert out.rstrip().endswith("All is well.")


def test_its_self_test_is_an_attack_on_each_device():
    devices.choose("card")
    assert told("devices")["in use"].found == "card, chosen by LAB_DEVICE or --device"
    tests = told("self-test")
    data, model = lab.load_data("mnist").rows(slice(0, 16)), lab.load_model("mnist/cnn")
    fooled = int(lab.attack("pgd", model, data.x, data.y, eps=0.1).success.sum())
    assert set(tests) == {"cpu", "card:0"}
    for each in tests.values():
        assert each.state == "well"
        assert f"fools mnist/cnn on {fooled} of 16" in each.found


def test_a_device_that_says_something_else_is_wrong(monkeypatch, capsys):
    devices.choose("card")
    true = installation.attack

    def attack(key, model, *args, **params):
        found = true(key, model, *args, **params)
        if devices.of(model, args[0]).type == "card":
            found.success.logical_not_()
        return found

    monkeypatch.setattr(installation, "attack", attack)
    assert told("self-test")["card:0"].state == "wrong"
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    assert "and others than on the CPU" in capsys.readouterr().out


def test_a_device_that_fails_is_told_and_does_not_end_it(monkeypatch):
    def attack(*args, **params):
        raise torch.AcceleratorError("CUDA error: no kernel image is available\nmore")

    monkeypatch.setattr(installation, "attack", attack)
    tests = told("self-test")
    assert tests
    for each in tests.values():
        assert each.state == "wrong"
        assert "no kernel image is available" in each.found


def test_a_folder_that_cannot_be_written_to_is_wrong(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("LAB_CACHE", str(file))
    assert told("files")["folder of results"].state == "wrong"


def test_what_can_be_done_without_is_no_fault():
    assert Installation((Finding("files", "official mnist", "absent", "absent"),)).sound
    assert not Installation((Finding("files", "folder", "", "wrong"),)).sound
