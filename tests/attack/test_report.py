"""What a person takes away does the same again, and can be opened by anyone."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

import lab
from lab.experiments.attack.report import Request, arrays, manifest, python
from lab.experiments.attack.run import run_one

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


def done(request):
    """The study of a request, and its model's class names."""
    model = lab.load_model(request.model)
    if request.dataset == "photographs":
        x = lab.load_picture(request.image, model.card)
    else:
        x = lab.load_data(request.dataset).rows([int(request.image)]).x
    found = run_one(model, x, request.attack, target=request.target, seed=request.seed, params=request.params)
    return found, model.card.classes


@requests
def test_the_script_computes_the_same_bits(request_):
    found, classes = done(request_)
    script, names, said = python(request_), {}, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(script, names)  # it is what a person would run
    result = names["result"]
    assert torch.equal(result.x, found.result.x)
    assert torch.equal(result.success, found.result.success)
    assert int(names["y"]) == found.seen
    assert said.getvalue().startswith(f"{classes[found.now]} {found.result.confidence[0]:.1%} moved by ")
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


@requests
def test_the_manifest_is_json_and_says_everything(request_):
    found, classes = done(request_)
    told = manifest(request_, found, classes)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["model"] == request_.model
    assert told["image"] == {
        "dataset": request_.dataset,
        "id": request_.image,
        "shape": list(found.clean.shape[1:]),
    }
    assert told["attack"] == request_.attack
    assert told["params"] == request_.params
    assert told["seed"] == request_.seed
    target = request_.target
    assert told["target"] == (None if target is None else {"class": target, "name": classes[target]})
    result = told["result"]
    assert result["success"] == bool(found.result.success[0])
    assert result["complete"] is True
    assert result["clean"]["class"] == found.seen
    assert result["clean"]["name"] == classes[found.seen]
    assert result["attacked"]["class"] == int(found.result.predictions[0])
    assert 0 < result["attacked"]["confidence"] <= 1
    assert result["distance"] == {k: v[0].item() for k, v in found.result.distance.items()}
    assert result["ssim"] == found.ssim
    assert (result["forward_passes"], result["backward_passes"]) == (
        int(found.result.queries[0]),
        int(found.result.backwards[0]),
    )
    assert told["versions"]["torch"] == torch.__version__
    assert set(told["versions"]) == {"python", "torch", "torchvision", "numpy", "pillow"}
    assert told["device"]


def test_the_arrays_open_without_pickle():
    found, _ = done(DIGIT)
    with np.load(io.BytesIO(arrays(found)), allow_pickle=False) as held:
        kept = {name: held[name] for name in held.files}
    assert all(a.dtype == np.float32 for a in kept.values())
    assert np.array_equal(kept["clean"], found.clean[0].numpy())
    assert np.array_equal(kept["attacked"], found.result.x[0].numpy())
    assert np.array_equal(kept["perturbation"], kept["attacked"] - kept["clean"])
    assert kept["clean_probabilities"].shape == kept["attacked_probabilities"].shape == (10,)
    assert kept["clean_probabilities"].argmax() == found.seen
    assert kept["attacked_probabilities"].argmax() == found.now
