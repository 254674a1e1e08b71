"""Transfer: which images count, what the cells say, and models of different sizes."""

import json

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

import lab
from lab.cli import main
from lab.experiments.transfer.matrix import Matrix, stream
from lab.experiments.transfer.sweep import sweep
from lab.models.cards import resized
from lab.progress import Cancelled, Progress
from lab.types import DataError, ModelError, ParamError
from tests.support.nets import Linear, Small, images


def case():
    one = Linear(seed=0)
    two = Linear(seed=0)
    two.w.data += 0.3 * Linear(seed=1).w.data
    x = images(60, 3)
    with torch.no_grad():
        return {"one": one, "two": two}, x, one(x).argmax(1)


def test_only_images_that_all_models_class_right_count():
    models, x, y = case()
    found = lab.transfer(models, models, x, y, "bim", eps=0.1)
    with torch.no_grad():
        right = (models["one"](x).argmax(1) == y) & (models["two"](x).argmax(1) == y)
    assert 0 < found.n < 60
    assert torch.equal(found.rows, right.nonzero().flatten())
    assert found.x["one"].shape == (found.n, 3, 8, 8)


def test_the_cells_are_counted_from_the_attacked_images():
    models, x, y = case()
    found = lab.transfer(models, models, x, y, "bim", eps=0.02)
    rows = found.rows
    for s, source in enumerate(found.sources):
        attacked = lab.attack("bim", models[source], x[rows], y[rows], eps=0.02)
        assert torch.equal(found.x[source], attacked.x)
        distortion = (attacked.x - x[rows]).flatten(1).square().mean(1).sqrt().mean()
        assert found.distortion[s] == pytest.approx(float(distortion))
        with torch.no_grad():
            own = models[source](attacked.x).argmax(1)
            for t, target in enumerate(found.targets):
                seen, cell = models[target](attacked.x).argmax(1), found.cells[s][t]
                fooled = seen != y[rows]
                assert torch.equal(found.predictions[s, t], seen)
                assert cell.fooled == int(fooled.sum())
                assert cell.success == pytest.approx(float(fooled.double().mean()))
                interval = binomtest(cell.fooled, found.n).proportion_ci(0.95, "wilson")
                assert (cell.low, cell.high) == (interval.low, interval.high)
                both = fooled & (own != y[rows])
                agreed = float((seen[both] == own[both]).double().mean()) if both.any() else None
                assert cell.agreement == (agreed if agreed is None else pytest.approx(agreed))
    assert (found.success.diagonal() > 0).all()
    assert found.agreement.diagonal().tolist() == [1.0, 1.0]


def test_models_of_different_sizes_are_compared_by_resizing_the_picture():
    keys = ["imagenet/efficientnet_lite0", "imagenet/efficientnet_lite1"]
    photographs = lab.load_data("photographs").rows(range(4))
    found = lab.transfer(keys, keys, photographs.x, photographs.y, "fgsm", eps="4/255")
    assert found.sources == tuple(keys)
    assert found.x[keys[0]].shape[-1] == 224
    assert found.x[keys[1]].shape[-1] == 240


def test_a_cancelled_run_gives_the_sources_that_are_done():
    models, x, y = case()
    at_work = []
    progress = Progress(lambda share, names: at_work.append(names[0]), stop=lambda: "two" in at_work)
    found = lab.transfer(models, models, x, y, "bim", progress=progress)
    assert found.sources == ("one",)
    assert not found.complete
    assert found.predictions.shape == (1, 2, found.n)


def test_what_cannot_be_compared_is_told_in_a_sentence():
    models, x, y = case()
    with pytest.raises(ModelError, match="at least one source model"):
        lab.transfer([], models, x, y, "fgsm")
    with pytest.raises(DataError, match="no image is classed right by all"):
        lab.transfer(models, models, x, (y + 1) % 4, "fgsm")
    with pytest.raises(ModelError, match="no model 'mnist/nothing'"):
        lab.transfer(["mnist/nothing"], models, x, y, "fgsm")
    assert lab.transfer([Small(3, 4).eval(), models["one"]], [models["one"]], x, y, "fgsm").sources[0] == "source 1"


def test_the_command_prints_the_matrix_and_writes_it(tmp_path, capsys):
    file = tmp_path / "matrix.json"
    asked = ["transfer", "--models", "mnist/softmax,mnist/mlp", "--attack", "fgsm", "--dataset", "mnist"]
    assert main([*asked, "--limit", "40", "--param", "eps=0.2", "--json", str(file)]) == 0
    told = json.loads(file.read_text())
    data = lab.load_data("mnist").rows(slice(0, 40))
    found = lab.transfer(told["sources"], told["sources"], data.x, data.y, "fgsm", eps=0.2)
    assert told == Matrix(found, "fgsm", (("eps", "0.2"),), 0, "mnist", tuple(data.ids)).record()
    assert told["complete"]
    out = capsys.readouterr().out
    assert f"{told['cells'][1][0]['success']:.1%}" in out
    assert main(["transfer", "--models", "mnist/cnn,fashion_mnist/cnn", "--attack", "fgsm", "--dataset", "mnist"]) == 2
    assert "compare models of one data set" in capsys.readouterr().err


def test_what_is_given_one_an_image_goes_with_the_images_that_count():
    models, x, y = case()
    y = torch.cat([y[:3], y[3:] * 0])  # some that are not classed right
    counts = lab.transfer(models, models, x, y, "pgd", eps=0.1, steps=2).rows
    assert 0 < len(counts) < len(x)
    eps, start = torch.linspace(0.01, 0.2, len(x)), (x + 0.3).clamp(0, 1)
    asked = {"steps": 2, "alpha": 0.05}
    found = lab.transfer(models, models, x, y, "pgd", eps=eps, start=start, **asked)
    for name, model in models.items():
        own = lab.attack("pgd", model, x[counts], y[counts], eps=eps[counts], start=start[counts], **asked)
        assert torch.equal(found.x[name], own.x)
    with pytest.raises(ParamError, match="a transfer matrix is of one size: leave out epsilons"):
        lab.transfer(models, models, x, y, "pgd", epsilons=[0.1, 0.2])


def test_the_seed_of_the_command_is_the_attacks(tmp_path):
    file, data = tmp_path / "matrix.json", lab.load_data("mnist").rows(slice(0, 12))
    asked = ["transfer", "--models", "mnist/softmax", "--attack", "pgd", "--dataset", "mnist", "--limit", "12"]
    assert main([*asked, "--param", "steps=2", "--seed", "3", "--json", str(file)]) == 0
    told = json.loads(file.read_text())
    own, other = (
        lab.transfer(["mnist/softmax"], ["mnist/softmax"], data.x, data.y, "pgd", steps=2, seed=seed) for seed in (3, 0)
    )
    assert told["seed"] == 3
    assert told["distortion"] == list(own.distortion) != list(other.distortion)


def test_resizing_never_leads_out_of_the_pixel_range():
    model = lab.load_model("imagenet/efficientnet_lite0")
    x = torch.ones(1, 3, 300, 300)
    assert nn.functional.interpolate(x, (224, 224), mode="bilinear", antialias=True).max() > 1, "rounding leads out"
    small = resized(x, model)
    assert small.shape[-2:] == (224, 224)
    assert float(small.max()) <= 1


def test_the_matrix_grows_source_by_source_and_a_stopped_run_keeps_what_it_had():
    models, x, y = case()
    grown = list(stream(models, models, x, y, "bim", eps=0.1))
    assert [found.sources for found in grown] == [(), ("one",), ("one", "two")]
    assert grown[1].cells[0] == grown[2].cells[0]
    assert [found.complete for found in grown] == [False, False, True]
    asked = []

    def in_the_second_attack():
        asked.append(None)
        return len(asked) > 9

    stopped = lab.transfer(models, models, x, y, "bim", eps=0.1, steps=5, progress=Progress(stop=in_the_second_attack))
    assert stopped.sources == ("one",)
    assert stopped.n == grown[-1].n
    assert not stopped.complete


def test_agreement_is_counted_on_the_images_that_fool_both_and_same_on_those_that_fool_the_source():
    models, x, y = case()
    found = lab.transfer(models, models, x, y, "bim", eps=0.02)
    own, seen, label = found.predictions[0, 0], found.predictions[0, 1], y[found.rows]
    wrong, both = own != label, (own != label) & (seen != label)
    assert found.cells[0][1].same == pytest.approx(float((seen == own)[wrong].double().mean()))
    assert found.cells[0][1].agreement == pytest.approx(float((seen == own)[both].double().mean()))


def test_a_stopped_command_keeps_the_rows_it_had(tmp_path, monkeypatch, capsys):
    file = tmp_path / "matrix.json"
    given = [
        "transfer",
        "--models",
        "mnist/softmax,mnist/mlp",
        "--attack",
        "fgsm",
        "--dataset",
        "mnist",
        "--limit",
        "10",
    ]

    def stopped(*args, **kwargs):
        rows = stream(*args, **kwargs)
        yield next(rows)
        yield next(rows)
        raise KeyboardInterrupt

    monkeypatch.setattr("lab.experiments.transfer.matrix.stream", stopped)
    assert main([*given, "--json", str(file)]) == 130
    told = json.loads(file.read_text(encoding="utf-8"))
    assert told["sources"] == ["mnist/softmax"]
    assert not told["complete"]
    assert len(told["cells"]) == 1
    assert "mnist/softmax" in capsys.readouterr().out


def test_the_record_and_the_rows_hold_every_cell_and_what_they_depend_on():
    models, x, y = case()
    found = lab.transfer(models, models, x, y, "bim", eps=0.02, seed=3)
    matrix = Matrix(found, "bim", (("eps", 0.02),), 3, "mine", tuple(f"image {k}" for k in range(60)))
    record = json.loads(json.dumps(matrix.record()))
    assert {k: record[k] for k in ("attack", "params", "seed", "dataset", "images", "sources", "targets")} == {
        "attack": "bim",
        "params": {"eps": 0.02},
        "seed": 3,
        "dataset": "mine",
        "images": found.n,
        "sources": ["one", "two"],
        "targets": ["one", "two"],
    }
    assert record["ids"] == [f"image {k}" for k in found.rows.tolist()]
    rows = matrix.rows()
    assert [(row["source"], row["target"], row["n"]) for row in rows] == [
        (s, t, found.n) for s in ("one", "two") for t in ("one", "two")
    ]
    cells = [cell for row in record["cells"] for cell in row]
    assert [{k: row[k] for k in cells[0]} for row in rows] == cells


def test_a_sweep_gives_the_mean_over_the_models_that_were_never_touched():
    models, x, y = case()
    models["three"] = Linear(seed=0)
    *_, points = sweep("one", models, x, y, "bim", "eps", [0.01, 0.03], steps=5)
    for point, eps in zip(points, (0.01, 0.03), strict=True):
        (cells,) = lab.transfer({"one": models["one"]}, models, x, y, "bim", eps=eps, steps=5).cells
        assert point.at == eps
        assert point.source == cells[0].success
        assert point.targets == pytest.approx((cells[1].success + cells[2].success) / 2)
        assert point.low <= point.targets <= point.high


def test_a_stopped_sweep_has_no_half_measured_point():
    models, x, y = case()
    points = []
    answers = sweep("one", models, x, y, "bim", "steps", [1, 2], progress=Progress(stop=lambda: bool(points)))
    points.extend(next(answers))
    with pytest.raises(Cancelled):
        next(answers)
    assert [point.at for point in points] == [1]
