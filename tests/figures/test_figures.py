"""What the figures and the formulas tell is what the attack did."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

import lab
from lab.attacks.catalog import CATALOG
from lab.experiments.attack.linearity import along
from lab.experiments.transfer.matrix import stream
from lab.figures import attack, transfer
from lab.figures.attack import against_passes, scaled, top_classes
from lab.figures.film import Kind, best_so_far, film
from lab.figures.formulas import SYMBOLS, letters, printed
from lab.figures.pictures import amplify, enlarge
from lab.figures.representations import HIGH, WIDE, _free
from lab.figures.style import TEXT, larger, outward
from lab.images import bytes_of
from lab.types import Frame
from tests.support.nets import Small, images

CLASSES = [f"class {k}" for k in range(10)]


def run(key: str, trace: bool | int = True, **params: object) -> tuple[torch.Tensor, lab.Result]:
    model, x = Small(3, 10, 8), images(1)
    return x, lab.attack(key, model, x, model(x).argmax(1), trace=trace, **params)


def decoded(url: str) -> np.ndarray:
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[::28, ::28]


def test_a_film_holds_the_pictures_and_the_measures_of_its_frames() -> None:
    x, result = run("bim", steps=5, eps=0.1)
    told = film(result.frames, x[0], 0, CLASSES, Kind("linf"))
    assert told["at"] == [0, 1, 2, 3, 4, 5]
    assert told["start"] == 5
    margin, _, loss = told["curves"]
    assert margin["values"] == [f.margin.item() for f in result.frames]
    assert loss["values"] == [f.loss.item() for f in result.frames]
    for stop, frame in zip(told["stops"], result.frames, strict=True):
        assert (decoded(stop["image"]) == bytes_of(frame.x[0]).numpy()).all()
    assert decoded(told["stops"][0]["perturbation"]).min() == decoded(told["stops"][0]["perturbation"]).max() == 128


def test_a_film_of_a_long_run_is_bounded_and_keeps_every_stop() -> None:
    x, result = run("bim", trace=8, steps=1000, eps=0.1)
    told = film(result.frames, x[0], 0, CLASSES, Kind("linf"))
    assert len(told["stops"]) <= 9
    assert len(told["at"]) < 600
    kept = [f for f in result.frames if len(f.x)]
    assert [told["at"][s["point"]] for s in told["stops"]] == [f.step for f in kept]


def test_the_smallest_change_so_far_never_grows_and_ends_at_the_result() -> None:
    x, result = run("cw", steps=40, searches=3)
    best = best_so_far(result.frames, 0, "l2")
    found = [d for d in best if d is not None]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(result.distance["l2"].item(), rel=1e-5)
    told = film(result.frames, x[0], 0, CLASSES, Kind("l2", closest=True))
    start = result.frames[told["at"][told["stops"][told["start"]]["point"]]]
    assert start.success.item()


def test_margins_are_drawn_against_forward_passes() -> None:
    runs = {"A": ("BIM", run("bim", steps=5)[1].frames), "B": ("VMI", run("vmi_fgsm", steps=5)[1].frames)}
    a, _, b, _ = against_passes(runs).data
    for line, (_, frames) in zip((a, b), runs.values(), strict=True):
        assert list(line.x) == [max(1, int(f.queries[0])) for f in frames]
        assert list(line.y) == [f.margin[0].item() for f in frames]


def test_runs_of_very_different_cost_share_a_logarithmic_axis() -> None:
    def frames(spent: int) -> list[Frame]:
        result = run("bim", steps=1)[1]
        return [*result.frames[:-1], Frame(**{**vars(result.frames[-1]), "queries": torch.tensor([spent])})]

    assert against_passes({"A": ("a", frames(10)), "B": ("b", frames(5000))}).layout.xaxis.type == "log"
    assert against_passes({"A": ("a", frames(10)), "B": ("b", frames(50))}).layout.xaxis.type is None


def test_the_bars_of_an_image_are_its_own() -> None:
    clean, attacked = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.85, 0.05])
    figure = attack.top_classes(clean, attacked, ["ape", "bat", "cat"], target=2)
    bars = {bar.name: dict(zip(bar.y, bar.x, strict=True)) for bar in figure.data}
    assert bars["clean"] == pytest.approx({"ape": 0.7, "bat": 0.2, "cat (goal)": 0.1})
    assert bars["attacked"] == pytest.approx({"ape": 0.1, "bat": 0.85, "cat (goal)": 0.05})


def test_every_line_is_that_of_its_class_along_the_attack_and_along_noise() -> None:
    x, result = run("fgsm", eps=0.1)
    measured = along(Small(3, 10, 8), x, result.x - x, "linf", points=5)
    drawn = {(t.name, t.yaxis): t for t in attack.line(measured, CLASSES, "linf").data}
    assert len(drawn) >= 8
    for (name, axis), trace in drawn.items():
        logits = measured.logits if axis == "y" else measured.noise
        assert list(trace.y) == pytest.approx(logits[:, CLASSES.index(name)].tolist())
        assert list(trace.x) == pytest.approx((255 * measured.eps).tolist())


def test_a_cell_of_the_matrix_belongs_to_its_source_and_target() -> None:
    models, x = {"a/one": Small(3, 10, 8), "a/two": Small(3, 10, 8)}, images(6)
    with torch.no_grad():
        models["a/two"].head.weight += 0.05 * torch.randn(10, 216, generator=torch.Generator().manual_seed(0))
        y = models["a/one"](x).argmax(1)
    *_, whole = stream(models, models, x, y, "fgsm", eps=0.1)
    figure = transfer.matrix(whole, {key: key[2:] for key in models})
    heat, points = figure.data
    for (source, target), across, down in zip(points.customdata, points.x, points.y, strict=True):
        assert (across, down) == (target[2:], source[2:])
        cell = whole.cells[whole.sources.index(source)][whole.targets.index(target)]
        assert heat.z[list(heat.y).index(down)][list(heat.x).index(across)] == cell.success


def test_the_largest_change_becomes_black_or_white_and_none_mid_gray() -> None:
    picture, factor = amplify(torch.tensor([[[0.0, 0.1, -0.2]]]))
    assert factor == pytest.approx(2.5)
    assert picture.flatten().tolist() == pytest.approx([0.5, 0.75, 0.0])
    assert amplify(torch.zeros(1, 2, 2))[0].eq(0.5).all()
    assert enlarge(torch.tensor([[[0.0, 1.0]]]), 4).tolist() == [[[0, 0, 1, 1], [0, 0, 1, 1]]]


def test_sizes_are_told_in_their_unit() -> None:
    assert scaled(4 / 255, "linf") == "4/255"
    assert scaled(0.5, "l2") == "0.5 in L2"
    assert scaled(1234.0, "l0") == "1,234 values"


def test_every_letter_of_a_formula_is_explained() -> None:
    unexplained = {
        key: [name for name in letters(spec.formula) if name not in {**SYMBOLS, **spec.symbols}]
        for key, spec in CATALOG.items()
    }
    assert {key: names for key, names in unexplained.items() if names} == {}
    idle = {key: set(spec.symbols) - set(letters(spec.formula)) for key, spec in CATALOG.items()}
    assert {key: names for key, names in idle.items() if names} == {}, "an explanation of a letter that is not there"


def test_a_step_is_printed_in_its_norm() -> None:
    formula = CATALOG["fgsm"].formula
    assert "sign" in printed(formula, "linf")
    assert r"\rVert_2" in printed(formula, "l2")
    assert "sign" not in printed(formula, "l2")


def test_a_measured_size_is_told_in_255ths_in_three_digits() -> None:
    assert scaled(0.479 / 255, "linf") == "0.479/255"
    assert scaled(4 / 255, "linf") == "4/255"


def test_axes_that_grow_end_on_round_numbers_and_stay() -> None:
    assert outward(0, 99) == [0, 100]
    low, high = outward(-3.2, 12.1)
    assert low <= -3.2
    assert high >= 12.1
    assert [low, high] == outward(-4.1, 13.5), "the same, while what it shows grows a little"
    assert outward(0, 0)[1] > 0


def test_a_chart_for_a_projector_has_larger_text_and_the_same_curves() -> None:
    figure = top_classes(torch.tensor([0.9, 0.1]), torch.tensor([0.2, 0.8]), ("cat", "dog"))
    large = larger(figure, 1.5)
    assert large.layout.font.size == 1.5 * figure.layout.font.size == 1.5 * TEXT
    assert large.layout.xaxis.tickfont.size == 1.5 * TEXT
    assert large.layout.height == 1.5 * figure.layout.height
    assert large.data[0].textfont.size == 1.5 * figure.data[0].textfont.size
    assert [t.x for t in large.data] == [t.x for t in figure.data]


def test_names_in_the_embedding_do_not_overlap() -> None:
    classes = tuple(f"a rather long name {k}" for k in range(12))
    points = torch.tensor([[k % 4, k // 4] for k in range(12)], dtype=torch.float)
    places = _free(points, range(12), classes)
    assert 0 < len(places) < 12
    width, height = 3.0, 2.0
    at = list(places.values())
    for k, (x, y) in enumerate(at):
        for a, b in at[:k]:
            assert abs(x - a) > WIDE * width * len(classes[0]) or abs(y - b) > HIGH * height
