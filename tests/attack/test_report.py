"""What a person takes away does the same again, and can be opened by anyone."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

import lab
from lab.experiments.attack.batch import AttackedImages
from lab.experiments.attack.report import flat, measures
from lab.experiments.attack.request import Request, python
from lab.experiments.attack.run import AttackRun, run_attack
from lab.predict import classes_of
from lab.types import GoalError
from tests.support.nets import Noisy, Small, images

PHOTOGRAPH = Request("imagenet/efficientnet_lite0", "photographs", "cat", "fgsm", {"eps": 4 / 255, "norm": "linf"})
TARGETED = Request(
    "imagenet/efficientnet_lite0", "photographs", "zebra", "bim", {"eps": 7.25 / 255, "steps": 2}, target=9, seed=1
)
DIGIT = Request(
    "mnist/cnn",
    "mnist",
    "7",
    "pgd",
    {"eps": 1.5, "steps": 5, "alpha": None, "norm": "l2"},
    seed=2**40,
)
PLAIN = Request("mnist/cnn", "mnist", "0", "fgsm")
requests = pytest.mark.parametrize(
    "request_", [PHOTOGRAPH, TARGETED, DIGIT, PLAIN], ids=lambda r: f"{r.attack} {r.image}"
)


def done(request) -> AttackRun:
    """The run of a request."""
    model = lab.load_model(request.model)
    if request.dataset == "photographs":
        x = lab.load_picture(request.image, model.card)
    else:
        x = lab.load_data(request.dataset).rows([int(request.image)]).x
    return run_attack(request, model, x, model.card.classes)


@requests
def test_the_script_computes_the_same_bits(request_):
    run = done(request_)
    script, names, said = python(request_), {}, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(script, names)  # it is what a person would run
    result = names["result"]
    assert torch.equal(result.x, run.result.x)
    assert torch.equal(result.success, run.result.success)
    assert int(names["y"]) == run.clean_class
    assert said.getvalue().startswith(f"{run.classes[run.attacked_class]} {run.result.confidence[0]:.1%} moved by ")
    assert "\t" not in script


def test_the_script_writes_pixels_as_a_person_does():
    assert 'eps="4/255"' in python(PHOTOGRAPH)
    assert 'eps="7.25/255"' in python(TARGETED)
    assert ", target=9, seed=1," in python(TARGETED)
    assert "eps=1.5" in python(DIGIT)
    assert "alpha=None" in python(DIGIT)


def test_a_picture_of_ones_own_is_named_as_such():
    script = python(Request("mnist/cnn", "file", "3f2a", "fgsm", {"eps": 0.1}))
    assert 'lab.load_picture("your-picture.png", model.card)  # your own file' in script
    compile(script, "script", "exec")


@pytest.mark.parametrize(("dataset", "image"), [("photographs", "tiger"), ("file", "3f2a")])
def test_the_script_looks_where_the_page_looked(dataset: str, image: str) -> None:
    script = python(Request("imagenet/efficientnet_lite0", dataset, image, "fgsm", {"eps": 0.1}, window=0.25))
    assert "window(" in script
    assert ", 0.25))" in script
    compile(script, "script", "exec")


@requests
def test_the_record_is_json_and_says_everything(request_):
    run = done(request_)
    record = run.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["model"] == request_.model
    assert record["image"] == {
        "dataset": request_.dataset,
        "id": request_.image,
        "window": 0.5,
        "shape": list(run.clean.shape[1:]),
    }
    assert record["attack"] == request_.attack
    assert record["params"] == request_.params
    assert record["seed"] == request_.seed
    target = request_.target
    assert record["target"] == (None if target is None else {"class": target, "name": run.classes[target]})
    result = record["result"]
    assert result["success"] == bool(run.result.success[0])
    assert result["complete"] is True
    assert result["clean"]["class"] == run.clean_class
    assert result["clean"]["name"] == run.classes[run.clean_class]
    assert result["attacked"]["class"] == int(run.result.predictions[0])
    assert 0 < result["attacked"]["confidence"] <= 1
    assert result["distance"] == {k: v[0].item() for k, v in run.result.distance.items()}
    assert result["ssim"] == run.ssim
    assert (result["forward_passes"], result["backward_passes"]) == (
        int(run.result.queries[0]),
        int(run.result.backwards[0]),
    )
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert set(record["versions"]) == {"python", "torch", "torchvision", "numpy", "pillow"}
    assert record["device"]


def test_a_goal_that_the_model_sees_already_is_refused_by_its_name() -> None:
    seen = done(Request("mnist/cnn", "mnist", "7", "fgsm", {"eps": 0.1}))
    with pytest.raises(GoalError, match=f"sees {seen.clean_name} in this picture already"):
        done(Request("mnist/cnn", "mnist", "7", "fgsm", {"eps": 0.1}, target=seen.clean_class))


def test_the_arrays_open_without_pickle():
    run = done(DIGIT)
    with np.load(io.BytesIO(run.arrays()), allow_pickle=False) as held:
        kept = {name: held[name] for name in held.files}
    assert all(a.dtype == np.float32 for a in kept.values())
    assert np.array_equal(kept["clean"], run.clean[0].numpy())
    assert np.array_equal(kept["attacked"], run.result.x[0].numpy())
    assert np.array_equal(kept["perturbation"], kept["attacked"] - kept["clean"])
    assert kept["clean_probabilities"].shape == kept["attacked_probabilities"].shape == (10,)
    assert kept["clean_probabilities"].argmax() == run.clean_class
    assert kept["attacked_probabilities"].argmax() == run.attacked_class


def test_the_table_has_the_measures_of_the_record():
    run = done(TARGETED)
    (row,), record = run.rows(), run.record()
    measured = record["result"]
    assert (row["model"], row["attack"], row["image"], row["seed"]) == (
        "imagenet/efficientnet_lite0",
        "bim",
        "zebra",
        1,
    )
    assert row["clean_class"] == measured["clean"]["name"]
    assert row["attacked_class"] == measured["attacked"]["name"]
    assert {norm: row[norm] for norm in measured["distance"]} == measured["distance"]
    for name in ("success", "ssim", "forward_passes", "backward_passes"):
        assert row[name] == measured[name]


def test_of_a_random_model_the_record_tells_how_often_and_how_sure():
    model = Noisy(2.0).eval()
    x, y = images(3), [0, 1, 2]
    with pytest.warns(lab.LabWarning, match="differently at a second look"):
        result = lab.attack("fgsm", model, x, y, draws=2)
    for i in range(3):
        row = flat(measures(result, i))
        assert row["chance"] == result.chance[i]
        assert row["chance_low"] <= row["chance"] <= row["chance_high"]
        assert row["success"] == (row["chance"] > 0.5)
    assert "chance" not in measures(lab.attack("fgsm", Small().eval(), x, y))


def test_many_images_are_measured_as_each_alone():
    model, images = lab.load_model("mnist/cnn"), lab.load_data("mnist").rows([0, 7])
    result = lab.attack("pgd", model, images.x, images.y, eps=0.1)
    clean = classes_of(model, images.x)
    many = AttackedImages("mnist/cnn", "pgd", {"eps": 0.1}, None, 0, model.card.classes, images, clean, result)
    record, rows = many.record(), many.rows()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [image["id"] for image in record["images"]] == list(images.ids)
    for row, image in zip(rows, record["images"], strict=True):
        assert {norm: row[norm] for norm in image["distance"]} == image["distance"]
        assert row.keys() == rows[0].keys()
    alone = run_attack(Request("mnist/cnn", "mnist", "7", "pgd", {"eps": 0.1}), model, images.x[1:], model.card.classes)
    assert alone.record()["result"]["distance"] == pytest.approx(record["images"][1]["distance"])
    assert record["summary"]["attacked_accuracy"] == (~result.success).float().mean().item()
