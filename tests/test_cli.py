"""The command line: what it prints and writes is what the package computes, and errors are one line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lab
from lab import cli, models
from lab.assets import ASSETS
from lab.cli import outputs

ROOT = Path(__file__).parents[1]
DIGITS = ["--model", "mnist/cnn", "--dataset", "mnist"]
CAT = str(ASSETS / "images" / "cat.png")


def run(capsys, *argv):
    """Exit code, standard output and error of a command."""
    try:
        code = cli.main([str(a) for a in argv])
    except SystemExit as e:
        code = e.code
    out, err = capsys.readouterr()
    return code, out, err


def told(capsys, tmp_path, *argv):
    """What a successful attack writes as JSON."""
    file = tmp_path / "measures.json"
    code, out, err = run(capsys, "attack", *argv, "--json", file)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    return json.loads(file.read_text()), out


def digits(n, **chosen):
    images = lab.load_data("mnist").rows(slice(0, n))
    return images, lab.attack(chosen.pop("key", "bim"), lab.load_model("mnist/cnn"), images.x, images.y, **chosen)


def test_catalog(capsys):
    code, out, err = run(capsys, "catalog")
    assert (code, err) == (0, "")
    lines = dict(line.split(": ") for line in out.splitlines())
    assert {kind: keys.split() for kind, keys in lines.items() if keys != "-"} == {
        kind: keys for kind, keys in lab.catalog().items() if keys
    }


def test_catalog_as_json(capsys):
    code, out, err = run(capsys, "catalog", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {kind: found[kind] for kind in lab.catalog()} == lab.catalog()
    assert list(found["parameters"]) == lab.catalog()["attacks"]
    eps = found["parameters"]["fgsm"]["eps"]
    assert eps["default"] == 8 / 255
    assert eps["range"] == {"linf": [0, 1], "l2": [0, 100], "l1": [0, 10000]}
    assert found["parameters"]["fgsm"]["norm"]["choices"] == ["linf", "l2", "l1"]
    assert all(p["help"] for params in found["parameters"].values() for p in params.values())


def test_the_measures_are_those_of_the_package(capsys, tmp_path):
    found, out = told(
        capsys, tmp_path, *DIGITS, "--limit", 8, "--attack", "pgd", "--param", "eps=0.1", "--param", "steps=5",
        "--seed", 3,
    )  # fmt: skip
    images, result = digits(8, key="pgd", eps="0.1", steps="5", seed=3)
    clean = lab.load_model("mnist/cnn")(images.x).argmax(1)
    assert found["model"] == "mnist/cnn"
    assert found["attack"] == "pgd"
    assert found["params"] == {"eps": "0.1", "steps": "5"}
    assert found["target"] is None
    assert found["seed"] == 3
    rows = found["images"]
    assert [r["id"] for r in rows] == list(images.ids)
    assert [r["label"] for r in rows] == images.y.tolist()
    assert [r["clean_class"] for r in rows] == clean.tolist()
    assert [r["attacked_class"] for r in rows] == result.predictions.tolist()
    assert [r["attacked_name"] for r in rows] == [str(c) for c in result.predictions.tolist()]
    assert [r["success"] for r in rows] == result.success.tolist()
    assert [r["confidence"] for r in rows] == result.confidence.tolist()
    assert [r["forward_passes"] for r in rows] == [r["backward_passes"] for r in rows] == [5] * 8
    for k in ("linf", "l2", "l0"):
        assert [r["distance"][k] for r in rows] == result.distance[k].tolist()
    summary = found["summary"]
    assert summary["images"] == 8
    assert summary["clean_accuracy"] == (clean == images.y).float().mean().item()
    assert summary["attacked_accuracy"] == (~result.success).float().mean().item()
    assert summary["mean_l2"] == pytest.approx(result.distance["l2"].mean().item())
    assert 0 < summary["largest_linf"] <= 0.1 + 1e-6
    right = clean == images.y
    assert summary["success_on_right"] == pytest.approx(result.success[right].float().mean().item())
    assert 0 < result.success.sum() < 8
    assert f"accuracy {summary['clean_accuracy']:.1%} -> {summary['attacked_accuracy']:.1%}" in out


def test_pictures_are_the_rounded_results(capsys, tmp_path):
    out = tmp_path / "new" / "pictures"
    code, _, err = run(
        capsys, "attack", *DIGITS, "--limit", 3, "--attack", "bim", "--param", "eps=20/255", "--out", out
    )
    assert (code, err) == (0, "")
    images, result = digits(3, eps="20/255")
    assert sorted(f.name for f in out.iterdir()) == sorted(f"{name}.png" for name in images.ids)
    for name, x in zip(images.ids, result.x, strict=True):
        expected = (x * 255).round().to(torch.uint8).numpy()[0]
        assert np.array_equal(np.array(Image.open(out / f"{name}.png")), expected)


@pytest.mark.parametrize("image", ["cat", CAT])
def test_a_picture_by_name_or_file(capsys, tmp_path, image):
    found, out = told(
        capsys, tmp_path, "--model", "imagenet/efficientnet_lite0", "--attack", "fgsm", "--image", image,
        "--out", tmp_path / "pictures",
    )  # fmt: skip
    model = lab.load_model("imagenet/efficientnet_lite0")
    x = lab.load_picture("cat", model.card)
    seen = int(model(x).argmax())
    result = lab.attack("fgsm", model, x, seen)
    (row,) = found["images"]
    assert (row["id"], row["label"], row["clean_class"]) == ("cat", seen, seen)
    assert row["attacked_class"] == int(result.predictions[0])
    assert row["attacked_name"] == model.card.classes[row["attacked_class"]]
    assert row["success"] == bool(result.success[0])
    assert row["attacked_name"] in out
    assert "8/255" in out
    picture = np.array(Image.open(tmp_path / "pictures" / "cat.png"))
    assert np.array_equal(picture, (result.x[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def test_json_to_the_standard_output_is_nothing_else(capsys, monkeypatch):
    load = models.load_model

    def chatty(key):
        print("Downloading: ...")  # noqa: T201  # as torch.hub does
        return load(key)

    monkeypatch.setattr(models, "load_model", chatty)
    code, out, err = run(capsys, "attack", *DIGITS, "--limit", 2, "--attack", "fgsm", "--json", "-")
    assert code == 0
    assert json.loads(out)["summary"]["images"] == 2
    assert err == "Downloading: ...\n"


@pytest.mark.parametrize("target", ["6", "sneaker"])
def test_a_target_by_number_or_name(capsys, tmp_path, target):
    key = "mnist" if target == "6" else "fashion_mnist"
    number = 6 if target == "6" else 7
    labels = lab.load_data(key).y[:12]
    file = tmp_path / "measures.json"
    code, _, err = run(
        capsys, "attack", "--model", f"{key}/cnn", "--dataset", key, "--limit", 12, "--attack", "bim",
        "--param", "eps=0.3", "--target", target, "--json", file,
    )  # fmt: skip
    found = json.loads(file.read_text())
    assert code == 0
    assert found["target"] == number
    rows, own = found["images"], int((labels == number).sum())
    assert len(rows) == 12 - own
    assert own > 0
    assert err == f"lab: {own} images of the target class are left out\n"
    assert all(r["success"] == (r["attacked_class"] == number) for r in rows)
    assert any(r["success"] for r in rows)


ATTACK = ["attack", *DIGITS, "--limit", "2"]
BIM = [*ATTACK, "--attack", "bim"]
PICTURE = ["attack", "--model", "mnist/cnn", "--attack", "bim", "--image"]
REFUSED = {
    "unknown model": (
        ["attack", "--model", "mnist/nope", "--attack", "bim", "--dataset", "mnist"],
        "there is no model",
    ),
    "unknown attack": ([*ATTACK, "--attack", "magic"], "there is no attack 'magic'"),
    "a name of two lines": ([*ATTACK, "--attack", "ma\ngic"], "there is no attack 'ma gic'"),
    "unknown data": (
        ["attack", "--model", "mnist/cnn", "--attack", "bim", "--dataset", "svhn"],
        "there is no data set",
    ),
    "other data": (["attack", "--model", "mnist/cnn", "--attack", "bim", "--dataset", "photographs"], "does not know"),
    "unknown parameter": ([*BIM, "--param", "epsilon=1"], "bim has no parameter 'epsilon'"),
    "parameter out of range": ([*BIM, "--param", "eps=2"], "eps must lie between 0 and 1"),
    "parameter that is no number": ([*BIM, "--param", "eps=8/0"], "'8/0' is not a number"),
    "parameter without value": ([*BIM, "--param", "eps"], "--param takes NAME=VALUE"),
    "no steps": ([*BIM, "--param", "steps=0"], "steps must lie between 1 and 1000"),
    "limit 0": ([*BIM, "--limit", "0"], "--limit must be at least 1, not 0"),
    "limit -3": ([*BIM, "--limit", "-3"], "--limit must be at least 1, not -3"),
    "seed": ([*BIM, "--seed", str(2**64)], "seed must be a whole number"),
    "missing file": ([*PICTURE, "missing.png"], "there is no picture 'missing.png'"),
    "no picture": ([*PICTURE, str(ROOT / "pyproject.toml")], "the file is not a picture"),
    "target name": ([*BIM, "--target", "zebra"], "has no class 'zebra'"),
    "target number": ([*BIM, "--target", "10"], "class 10 does not exist"),
    "negative target": ([*BIM, "--target=-1"], "class -1 does not exist"),
    "target of signs": ([*BIM, "--target=--5"], "has no class '--5'"),
    "target in a script of its own": ([*BIM, "--target", "²"], "has no class '²'"),
    "enormous target": ([*BIM, "--target", "9" * 5000], "has no class"),
    "empty target": ([*BIM, "--target", ""], "has no class ''"),
    "folder for JSON": ([*BIM, "--json", str(ROOT)], "directory"),
}
MISUSED = {
    "no command": ([], "the following arguments are required: COMMAND"),
    "unknown command": (["frobnicate"], "invalid choice: 'frobnicate'"),
    "no attack": (["attack", *DIGITS], "the following arguments are required: --attack"),
    "no images": (["attack", "--model", "mnist/cnn", "--attack", "bim"], "one of the arguments --image --dataset"),
    "two sources": ([*BIM, "--image", "cat"], "not allowed with argument --dataset"),
    "limit that is no number": ([*BIM, "--limit", "few"], "argument --limit: invalid int value: 'few'"),
    "unknown option": ([*BIM, "--fast"], "unrecognized arguments: --fast"),
    "two lines": ([*BIM, "--fa\nst"], "unrecognized arguments: --fa st"),
}


@pytest.mark.parametrize("case", [*REFUSED, *MISUSED])
def test_an_error_is_one_line_and_code_2(capsys, case):
    argv, telling = (REFUSED | MISUSED)[case]
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.endswith("\n")
    assert re.match(r"lab( attack)?: ", err)
    assert telling in err


def test_a_wrong_parameter_is_told_before_a_model_is_loaded(capsys, monkeypatch):
    monkeypatch.setattr(models, "load_model", lambda key: pytest.fail("a model was loaded"))
    assert run(capsys, *BIM, "--param", "eps=-1")[0] == 2


def test_a_stop_by_hand_is_no_traceback(capsys, monkeypatch):
    def stop(key):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "load_model", stop)
    assert run(capsys, *BIM) == (130, "", "lab: stopped\n")


def test_help_tells_of_every_option(capsys):
    code, out, err = run(capsys, "attack", "--help")
    assert (code, err) == (0, "")
    for option in ("--model", "--attack", "--image", "--dataset", "--limit", "--target", "--param", "--seed", "--out"):
        assert option in out


def lab_process(*argv):
    run = [sys.executable, "-W", "error", "-m", "lab", *argv]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_as_a_program():
    done = lab_process("catalog")
    assert (done.returncode, done.stderr) == (0, "")
    assert "attacks: fgsm bim pgd mi_fgsm" in done.stdout


def test_as_a_program_that_fails():
    done = lab_process(*ATTACK, "--attack", "magic")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"lab: there is no attack 'magic': .*\n", done.stderr)


def test_the_version_is_that_of_the_package(capsys):
    assert run(capsys, "--version") == (0, f"lab {lab.__version__}\n", "")


def test_a_number_that_json_has_no_word_for_is_null(capsys, tmp_path):
    record = {"p": float("nan"), "curve": [(0.5, float("inf"))], "n": 3}
    outputs.write(record, str(tmp_path / "a.json"))
    outputs.write(record, "-")
    kept = (tmp_path / "a.json").read_text()
    assert json.loads(kept) == {"p": None, "curve": [[0.5, None]], "n": 3}
    assert capsys.readouterr().out == kept + "\n"


@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_drawn_where_a_person_looks_on(capsys, monkeypatch, watched):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    with outputs.bar("3 images") as progress:
        progress.part(0.5, 1.0).tell(0.5)
    drawn = capsys.readouterr().err
    assert ("3 images:" in drawn) is watched
    assert watched or drawn == ""


def test_the_exact_name_of_a_class_comes_before_another_spelling():
    card = lab.load_model("imagenet/efficientnet_lite0").card
    assert [card.classes[cli.find_class(name, card)] for name in ("cardigan", "Cardigan")] == ["cardigan", "Cardigan"]
    assert card.classes[cli.find_class("ESPRESSO", card)] == "espresso"
