"""A capsule network looked into and attacked."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import lab
from lab.defenses.detect import Reconstruction, capsules_of, roc, scores, threshold
from lab.experiments.capsules.drawing import Drawing, attempts
from lab.experiments.capsules.look import OFFSETS, calibrate, lengths_by_iteration, look, primary_maps, sweep
from lab.experiments.capsules.rivals import TITLES, TRANSFER, VOTE, WHITE, WORST, Rivals, Votes, compare, worst_of
from lab.experiments.defenses.attackers import Attackers
from lab.models.capsnet import CapsNet, squash
from lab.models.nets import build
from lab.progress import Progress

SIZES = (0.0, 0.05, 0.1, 0.2)


@pytest.fixture(scope="module")
def net() -> CapsNet:
    made = build("capsnet", (1, 21, 19), 4, seed=3, channels=6, types=3, pose=4, size=5).eval().requires_grad_(False)
    assert isinstance(made, CapsNet)
    return made


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.rand(5, 1, 21, 19, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def rivals(net: CapsNet) -> Rivals:
    torch.random.manual_seed(0)
    other = nn.Sequential(nn.Flatten(), nn.Linear(21 * 19, 8), nn.Tanh(), nn.Linear(8, 4)).eval().requires_grad_(False)
    return Rivals(net, other, net)


def test_the_vote_model_is_the_average_vote(device: torch.device) -> None:
    net, x = capsules_of(lab.load_model("mnist/capsnet")), lab.load_data("mnist", device=device).x[:3]
    average = net.votes(net.primary_capsules(x)).mean(1)
    gap = Votes(net)(x) - average.square().sum(2).log()
    assert torch.allclose(gap, gap[:1, :1].expand_as(gap), atol=1e-4)
    routed = net(x) - average.square().sum(2).log()
    assert not torch.allclose(routed, routed[:1, :1].expand_as(routed), atol=1e-1)


def test_lengths_by_iteration_begin_at_the_average_vote_and_end_at_the_networks_own(net: CapsNet, x: Tensor) -> None:
    seen = net.explore(x)
    found = lengths_by_iteration(seen)
    assert found.shape == (3, 5, 4)
    assert torch.allclose(found[0], squash(seen.votes.sum(1) / 4).norm(dim=2), atol=1e-5)
    assert torch.allclose(found[-1], seen.lengths, atol=1e-5)


def test_a_map_of_primary_capsules_lies_as_the_image_does(net: CapsNet, x: Tensor) -> None:
    maps = primary_maps(net, net.explore(x))
    assert maps.shape == (5, 3, 3, 2)
    h = net.primary(torch.relu(net.conv(x)))
    kind, row, column = 2, 1, 0
    pose = squash(h[:, kind * 4 : kind * 4 + 4, row, column])
    assert torch.allclose(maps[:, kind, row, column], pose.norm(dim=1), atol=1e-6)


def test_a_sweep_turns_one_dimension_at_a_time(net: CapsNet, x: Tensor) -> None:
    capsules = net.explore(x[:1]).capsules
    drawn = sweep(net, capsules[0, 2], 2)
    assert drawn.shape == (5, len(OFFSETS), 1, 21, 19)
    for dimension, step in ((0, 0), (3, 7), (4, 5)):
        moved = capsules.clone()
        moved[0, 2, dimension] += OFFSETS[step]
        assert torch.allclose(drawn[dimension, step], net.reconstruct(moved, torch.tensor([2]))[0], atol=1e-6)
    assert OFFSETS[5] == 0
    assert not torch.allclose(drawn[0, 0], drawn[0, 10])


def test_everything_is_compared_on_both_networks(rivals: Rivals, x: Tensor) -> None:
    y = rivals.capsules(x).argmax(1)
    *parts, found = compare(rivals, x, y, SIZES, steps=4)
    kinds = [(o.model, o.attack) for o in found]
    both = {(model, key) for model in rivals.names for key in (*WHITE, TRANSFER)}
    assert set(kinds) == both | {("capsules", VOTE)}
    assert len(kinds) == len(set(kinds))
    assert all(o.complete and o.eps == SIZES for o in found)
    assert all(len(a) <= len(b) for a, b in pairwise(parts))
    for o in found:
        accuracy = [p.accuracy for p in o.curve]
        assert accuracy == sorted(accuracy, reverse=True)
        assert accuracy[0] == (1.0 if o.model == "capsules" else float(o.right.double().mean()))


@pytest.mark.parametrize("kind", [VOTE, TRANSFER])
def test_borrowed_images_are_judged_by_the_network_itself(rivals: Rivals, x: Tensor, kind: str) -> None:
    y = rivals.capsules(x).argmax(1)
    *_, found = compare(rivals, x, y, [0.2], steps=4)
    source, key = (Votes(rivals.net), "pgd") if kind == VOTE else (rivals.other, "mi_fgsm")
    made = lab.attack(key, source, x, y, eps=0.2, steps=4).x
    fooled = rivals.capsules(made).argmax(1) != y
    needed = next(o.needed for o in found if (o.model, o.attack) == ("capsules", kind))
    assert torch.equal(needed.isfinite(), fooled)


def test_the_worst_is_the_worst_for_each_image(rivals: Rivals, x: Tensor) -> None:
    y = rivals.capsules(x).argmax(1)
    *_, found = compare(rivals, x, y, SIZES, steps=4)
    own = [o for o in found if o.model == "capsules"]
    worst = worst_of(found, "capsules")
    assert worst.attack == WORST
    assert torch.equal(worst.needed, torch.stack([o.needed for o in own]).amin(0))
    assert min(min(p.accuracy for p in o.curve) for o in own) >= worst.curve[-1].accuracy
    early = next(compare(rivals, x, y, SIZES, steps=4))  # one size of one attack
    assert worst_of([*own, *early], "capsules").eps == SIZES[:1]


@pytest.mark.parametrize("kind", ["bim", "vote"])
def test_a_cancelled_comparison_yields_no_more(rivals: Rivals, x: Tensor, kind: str) -> None:
    y, at_work = rivals.capsules(x).argmax(1), TITLES.get(kind, kind)
    heard: list[tuple[str, ...]] = []
    progress = Progress(
        hear=lambda share, what: heard.append(what), stop=lambda: sum(at_work in what for what in heard) >= 2
    )
    *_, last = compare(rivals, x, y, SIZES, steps=4, progress=progress)
    assert last[-1].attack == kind
    assert not last[-1].complete
    assert all(o.complete for o in last[:-1])


def test_the_progress_of_a_comparison_rises_and_names_attack_and_network(rivals: Rivals, x: Tensor) -> None:
    heard: list[tuple[float, tuple[str, ...]]] = []
    progress = Progress(hear=lambda share, what: heard.append((share, what)))
    list(compare(rivals, x, rivals.capsules(x).argmax(1), SIZES, steps=4, progress=progress))
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert {what[:2] for _, what in heard} == {
        *((key, name) for key in WHITE for name in rivals.names),
        ("Vote attack", "capsules"),
        *(("Made on the other net", name) for name in rivals.names),
    }


def test_a_look_records_what_the_network_makes_of_both_images(device: torch.device) -> None:
    model, data = lab.load_model("mnist/capsnet"), lab.load_data("mnist")
    clean = data.rows(slice(1000, 1100))
    detection = calibrate(model, clean.x, clean.y, rate=0.05, seed=0)
    seen = look(model, data.rows([3]), Attackers("fgsm", {"eps": 0.2}, 1), detection)
    record = json.loads(json.dumps(seen.record(), allow_nan=False))
    assert (record["model"], record["dataset"], record["image"]) == ("mnist/capsnet", "mnist", data.ids[3])
    assert (record["attack"], record["params"], record["seed"]) == ("fgsm", {"eps": 0.2}, 1)
    attacked = lab.attack("fgsm", model, data.x[3:4], model(data.x[3:4]).argmax(1), eps=0.2, seed=1).x
    assert torch.equal(seen.x[1:], attacked)
    lengths = capsules_of(model).explore(attacked.to(device)).lengths[0]
    assert list(record["attacked"]["lengths"].values()) == pytest.approx(lengths.tolist())
    assert [row["attacked"] for row in seen.rows()] == list(record["attacked"]["lengths"].values())
    assert record["attacked"]["distance from the drawing"] == pytest.approx(
        float(scores(Reconstruction(), model, attacked))
    )
    assert record["detector"]["threshold"] == detection.limit


def test_only_pgd_is_tried_by_one_who_knows_the_detector() -> None:
    model, data = lab.load_model("mnist/capsnet"), lab.load_data("mnist")
    params = {"eps": 0.3, "steps": 2}
    plan = [(Attackers(key, params), data.rows(slice(0, 4))) for key in ("bim", "pgd")]
    *_, tried = attempts(model, data.rows(slice(1000, 1100)).x, plan, rate=0.05)
    assert [t.name for t in tried] == ["BIM (I-FGSM)", "PGD", "Reconstructive PGD"]
    drawing = Drawing(tried, "mnist/capsnet", "mnist", (("bim", tuple(params.items())),), 0)
    record = json.loads(json.dumps(drawing.record(), allow_nan=False))
    assert record["attacks"] == drawing.rows()
    assert record["params"] == {"bim": params}
    assert len({tuple(row) for row in drawing.rows()}) == 1


def test_on_digits_one_step_flatters_capsules_and_the_drawing_gives_it_away() -> None:
    model, other = lab.load_model("mnist/capsnet"), lab.load_model("mnist/cnn")
    net, data = capsules_of(model), lab.load_data("mnist")
    part, clean = data.rows(slice(0, 60)), data.rows(slice(1000, 1300))

    def accuracy(attacked: Tensor, judge: nn.Module) -> float:
        return float((judge(attacked).argmax(1) == part.y).double().mean())

    weak = [accuracy(lab.attack("fgsm", m, part.x, part.y, eps=0.2).x, m) for m in (model, other)]
    assert weak[0] > weak[1] + 0.2
    votes = lab.attack("pgd", Votes(net), part.x, part.y, eps=0.3, steps=10).x
    assert accuracy(votes, model) < 0.05
    single = lab.attack("fgsm", model, part.x, part.y, eps=0.3)
    limit = threshold(scores(Reconstruction(), model, clean.x[:150]), 0.05)
    held, attacked = (scores(Reconstruction(), model, images) for images in (clean.x[150:], single.x[single.success]))
    assert roc(held, attacked).area >= 0.93
    assert float((attacked > limit).double().mean()) > 0.9
    assert math.isfinite(limit)
