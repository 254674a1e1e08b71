"""CLEVER: exact where the answer is known, at or under what attacks find, the same for an image alone."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import lab
from lab.cli import main
from lab.experiments.clever.estimate import FIELDS, Estimate
from lab.experiments.clever.score import Sampling, _maxima, endpoint
from lab.progress import SILENT, Progress
from lab.types import GoalError, ModelError, ParamError
from tests.support.nets import Linear, images
from tests.support.refusals import refused

DUAL = {1: math.inf, 2: 2, math.inf: 1}


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_on_a_linear_model_the_score_is_the_exact_distance(norm):
    model, x = Linear().requires_grad_(False), images(3, 3)
    found = lab.clever(model, x, norm=norm, batches=5, samples=8, radius=1e4)
    logits = model(x)
    seen = logits.argmax(1)
    for i in range(3):
        for target, score in zip(found.targets[i].tolist(), found.by_target[i].tolist(), strict=True):
            slope = torch.linalg.vector_norm(model.w[seen[i]] - model.w[target], DUAL[norm])
            exact = (logits[i, seen[i]] - logits[i, target]) / slope
            assert score == pytest.approx(float(exact), rel=1e-3)
        assert float(found.scores[i]) == float(found.by_target[i].min())


def test_no_score_is_larger_than_the_radius():
    found = lab.clever(Linear().requires_grad_(False), images(2, 3), batches=3, samples=4, radius=1e-3)
    assert (found.scores == 1e-3).all()


def test_every_point_that_is_asked_is_an_image():
    """A ball around a dark picture reaches below 0, and around a bright one above 1: both ends are clipped."""
    low, high = [], []

    class Watched(Linear):
        def forward(self, x):
            low.append(float(x.detach().min()))
            high.append(float(x.detach().max()))
            return super().forward(x)

    lab.clever(Watched().requires_grad_(False), images(2, 3), batches=3, samples=8, norm=math.inf, radius=2.0)
    assert min(low) == 0
    assert max(high) == 1


def test_the_largest_of_a_batch_counts_in_however_many_portions_it_is_asked():
    """Two batches of seven values, asked three by three."""
    values, asked = iter([1, 9, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60, 70]), []

    def points(rows):
        asked.append(rows)
        return torch.tensor([float(next(values)) for _ in range(rows)])

    found = _maxima(lambda z: torch.stack([z, -z]), points, 3, Sampling(batches=2, samples=7), SILENT)
    assert asked == [3, 3, 1] * 2
    assert found.tolist() == [[9, 70], [-1, -10]]


def test_an_image_alone_has_the_same_score_and_the_model_is_not_changed():
    model, x = lab.load_model("mnist/mlp"), lab.load_data("mnist").x[:2]
    settings = {"batches": 6, "samples": 16, "seed": 3}
    both, alone = lab.clever(model, x, **settings), lab.clever(model, x[1:], **settings)
    assert torch.allclose(both.maxima[1], alone.maxima[0], rtol=1e-5)
    assert torch.equal(lab.clever(model, x, **settings).scores, both.scores)
    assert all(p.grad is None for p in model.parameters())


def test_the_gradients_are_those_of_each_margin():
    model, x = lab.load_model("mnist/cnn"), lab.load_data("mnist").x[:1]
    found = lab.clever(model, x, batches=3, samples=4, targets=torch.tensor([[1, 2]]), norm=math.inf, radius=1e-7)
    z = x.clone().requires_grad_()
    seen = int(model(x).argmax())
    for t, target in enumerate((1, 2)):
        logits = model(z)[0]
        (slope,) = torch.autograd.grad(logits[seen] - logits[target], z)
        assert torch.allclose(found.maxima[0, t], slope.abs().sum().expand(3), rtol=1e-3)


def test_scores_lie_at_or_under_the_distance_that_attacks_find():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 10))
    found = lab.clever(model, data.x, batches=40, samples=64)
    attacked = lab.attack("cw", model, data.x, model(data.x).argmax(1))
    under = found.scores <= attacked.distance["l2"]
    assert float(under.double().mean()) >= 0.9


def test_the_endpoint_of_a_known_distribution_is_found():
    maxima = stats.weibull_max.rvs(4.0, loc=7.0, scale=2.0, size=400, random_state=0)
    fit = endpoint(np.asarray(maxima))
    assert fit.location == pytest.approx(7.0, abs=0.4)
    assert fit.location >= maxima.max()
    assert fit.p_value > 0.05


def test_equal_maxima_need_no_fit():
    fit = endpoint(np.full(10, 3.0))
    assert (fit.location, fit.p_value) == (3.0, 1.0)


def test_a_stopped_run_keeps_the_images_that_are_done():
    calls = iter(range(10_000))
    progress = Progress(stop=lambda: next(calls) >= 3)
    found = lab.clever(Linear().requires_grad_(False), images(3, 3), batches=2, samples=4, progress=progress)
    assert len(found.scores) == len(found.targets) == len(found.seen) == len(found.maxima) == 1
    assert not found.complete


def test_a_first_image_keeps_the_batches_that_there_are():
    calls = iter(range(10_000))
    model, x = Linear().requires_grad_(False), images(2, 3)
    found = lab.clever(model, x, batches=6, samples=4, progress=Progress(stop=lambda: next(calls) >= 3))
    assert found.maxima.shape == (1, 3, 3)
    assert not found.complete
    short = lab.clever(model, x, batches=3, samples=4)
    assert torch.equal(found.maxima, short.maxima[:1])
    assert short.complete


def test_the_progress_rises_to_the_end_and_names_the_batches():
    heard = []
    progress = Progress(hear=lambda share, what: heard.append((share, *what)))
    lab.clever(Linear().requires_grad_(False), images(2, 3), batches=3, samples=4, progress=progress)
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert [name for _, name in heard] == ["batch 1 of 3", "batch 2 of 3", "batch 3 of 3"] * 2


def test_a_constant_model_is_told_by_the_radius():
    found = lab.clever(lambda z: torch.tensor([1.0, 0.0]).expand(len(z), 2), images(2, 3), batches=3, samples=4)
    assert (found.scores == 5.0).all()


class Bowl(torch.nn.Module):
    """Two logits, 4 - 3 |x - 1/2|^2 and 0: curvature 6 everywhere, gradient 6 |x - 1/2|."""

    def forward(self, x):
        height = 4 - 3 * (x - 0.5).flatten(1).square().sum(1)
        return torch.stack([height, torch.zeros_like(height)], 1)


def test_the_second_order_is_exact_where_the_curvature_is_the_same_everywhere():
    x = torch.full((1, 1, 4, 4), 0.5)
    x[0, 0, 0, 0] = 0.7
    found = lab.clever(Bowl(), x, order=2, batches=4, samples=4)
    margin, slope = 4 - 3 * 0.04, 6 * 0.2
    assert found.location.item() == pytest.approx(6, rel=1e-3)
    assert found.slope.item() == pytest.approx(slope, rel=1e-4)
    assert found.scores.item() == pytest.approx((-slope + math.sqrt(slope**2 + 12 * margin)) / 6, rel=1e-3)


def test_the_second_order_of_a_linear_model_is_the_exact_distance_and_that_of_the_rbf_net_is_under_the_attack():
    linear, x = Linear().requires_grad_(False), images(2, 3)
    settings = {"batches": 3, "samples": 4, "radius": 1e4}
    assert torch.allclose(lab.clever(linear, x, order=2, **settings).scores, lab.clever(linear, x, **settings).scores)
    model, x = lab.load_model("mnist/rbf"), lab.load_data("mnist").x[:2]
    found = lab.clever(model, x, order=2, batches=5, samples=8, radius=2.0)
    assert (found.scores <= lab.attack("fmn", model, x, model(x).argmax(1)).distance["l2"]).all()


@pytest.mark.parametrize(("key", "said"), [("mnist/cnn", "a layer ReLU"), ("mnist/maxout", "linear pieces")])
def test_the_second_order_is_refused_where_second_derivatives_tell_nothing(key, said):
    with pytest.raises(ModelError, match=said):
        lab.clever(lab.load_model(key), lab.load_data("mnist").x[:1], order=2, batches=2, samples=2)


def test_the_first_batches_alone_give_the_score_of_a_run_with_so_many():
    model, x = lab.load_model("mnist/mlp"), lab.load_data("mnist").x[:1]
    long, short = (lab.clever(model, x, batches=b, samples=8) for b in (12, 5))
    assert [long.after(0, t, 5) for t in range(9)] == pytest.approx(short.by_target[0].tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"order": 3}, ParamError, "order must be 1 or 2"),
        ({"order": 2, "norm": 1}, ParamError, "the second order is for the L2 norm only"),
        ({"norm": 3}, ParamError, "norm must be 1, 2 or infinity"),
        ({"batches": 0}, ParamError, "batches must be a whole number"),
        ({"samples": 1.5}, ParamError, "samples must be a whole number"),
        ({"radius": 0}, ParamError, "radius must be a positive number"),
        ({"radius": math.nan}, ParamError, "radius must be a positive number"),
        ({"targets": torch.tensor([9, 9])}, GoalError, "target 9 does not exist"),
        ({"targets": torch.tensor([1])}, GoalError, "targets must be classes"),
    ],
)
def test_bad_settings_are_told_in_one_sentence(settings, error, said):
    with pytest.raises(error, match=said):
        lab.clever(Linear().requires_grad_(False), images(2, 3), **settings)


def test_the_class_that_the_model_sees_is_no_target():
    model, x = Linear().requires_grad_(False), images(1, 3)
    with pytest.raises(GoalError, match="is the class that the model sees"):
        lab.clever(model, x, targets=model(x).argmax(1))


def test_an_estimate_records_every_number_and_its_table_has_the_same_columns_throughout():
    model, data = lab.load_model("mnist/mlp"), lab.load_data("mnist").rows(slice(0, 2))
    scores = lab.clever(model, data.x, norm=math.inf, batches=4, samples=4, radius=0.1, seed=3)
    estimate = Estimate(scores, "mnist/mlp", "mnist", tuple(data.ids), model.card.classes)
    record = json.loads(json.dumps(estimate.record(), allow_nan=False))
    settings = {"norm": "inf", "batches": 4, "samples": 4, "radius": 0.1, "order": 1, "seed": 3}
    assert record.items() >= {"model": "mnist/mlp", "dataset": "mnist", "complete": True, **settings}.items()
    for i, image in enumerate(record["images"]):
        assert image["id"] == data.ids[i]
        assert image["seen"] == model.card.classes[int(scores.seen[i])]
        assert image["score"] == float(scores.scores[i])
        assert image["maxima"] == scores.maxima[i].tolist()
        assert [fit["location"] for fit in image["targets"].values()] == scores.location[i].tolist()
        assert image["seen"] not in image["targets"]
    rows = estimate.rows()
    assert len(rows) == 2 * 9
    assert {tuple(row) for row in rows} == {("image", "target", *FIELDS)}
    assert [row["by_target"] for row in rows] == scores.by_target.flatten().tolist()


def test_the_command_line_writes_the_record_of_the_estimate(tmp_path, capsys):
    file = tmp_path / "scores.json"
    given = ["clever", "--model", "mnist/softmax", "--dataset", "mnist", "--start", "1", "--limit", "2"]
    assert main([*given, "--norm", "inf", "--batches", "3", "--samples", "4", "--json", str(file)]) == 0
    assert "no certificate" in capsys.readouterr().out
    model, data = lab.load_model("mnist/softmax"), lab.load_data("mnist").rows(slice(1, 3))
    scores = lab.clever(model, data.x, norm=math.inf, batches=3, samples=4)
    estimate = Estimate(scores, "mnist/softmax", "mnist", tuple(data.ids), model.card.classes)
    assert json.loads(file.read_text(encoding="utf-8")) == estimate.record(maxima=False)
    assert len(estimate.record()["images"][0]["targets"]) == 9


def test_a_start_at_which_there_is_no_image_is_refused(capsys):
    assert main(["clever", "--model", "mnist/softmax", "--dataset", "mnist", "--start", "-1", "--quick"]) == 2
    assert "--start must be from 0 to" in capsys.readouterr().err


def test_the_score_does_not_depend_on_the_callers_mode():
    model, x = lab.load_model("mnist/softmax"), lab.load_data("mnist").x[:1]
    outside = lab.clever(model, x, batches=5, samples=5).scores
    with torch.inference_mode():
        assert torch.equal(lab.clever(model, x, batches=5, samples=5).scores, outside)


@pytest.mark.parametrize("order", [1, 2])
def test_a_model_that_no_gradient_leads_into_has_no_score(order):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Softplus(), nn.Linear(8, 3)).eval()
    with refused(lab.ModelError, "no gradient leads there"):
        lab.clever(lambda x: net(x.detach()), torch.rand(1, 1, 8, 8), batches=3, samples=3, order=order)


def test_infinite_slopes_give_no_bound_and_are_told():
    model, x = lab.load_model("mnist/softmax"), lab.load_data("mnist").x[:1]
    with pytest.warns(lab.LabWarning, match="infinite or NaN"):
        assert float(lab.clever(lambda z: model(z.sqrt()), x, batches=3, samples=3).scores[0]) == 0
