"""Whatever cannot be attacked is refused with one clear sentence, and what can, is not."""

import re

import pytest
import torch
from torch import nn

import lab
from lab import devices
from lab.attacks import CATALOG
from lab.params import number
from lab.progress import Progress
from lab.types import Goal, GoalError, ImageError, Iterate, LabWarning, ModelError, ParamError
from tests.support.attacks import has
from tests.support.driver import run
from tests.support.nets import Small, images
from tests.support.refusals import refused

MODEL = Small()
TWO = ("bim", "square")
"""One that follows gradients and one that asks for scores: every sentence is asked of both."""


def attack(x=None, y=0, model=MODEL, key="bim", **params):
    return lab.attack(key, model, images(2) if x is None else x, y, **params)


@pytest.mark.parametrize("key", CATALOG)
def test_every_attack_goes_through_the_checks(key):
    """The sentences themselves are asked of two attacks below."""
    with refused(ParamError, f"{key} has no parameter 'epsilon'"):
        attack(key=key, epsilon=0.1)
    if has(key, "eps"):
        with refused(ParamError, "eps must lie between 0 and"):
            attack(key=key, eps=-0.1)
    with refused(ImageError, "pixels must lie in [0,1], but these span"):
        attack(2 * images(2), key=key)
    with refused(GoalError, "label 10 does not exist: the model has 10 classes, 0 to 9"):
        attack(y=[0, 10], key=key)
    with refused(GoalError, "target 10 does not exist"):
        attack(target=10, key=key)
    with refused(ModelError, "but answered NoneType"):
        attack(model=lambda x: None, key=key)


class TestParameters:
    @pytest.mark.parametrize(
        ("eps", "telling"),
        [
            (-0.1, "eps must lie between 0 and 1 (pixels lie in [0,1])"),
            (1.00001, "eps must lie between 0 and 1"),
            (-1e-9, "eps must lie between 0 and 1"),
            ("300/255", "eps must lie between 0 and 1"),
            ("-8/255", "eps must lie between 0 and 1"),
            (float("nan"), "eps must be a finite number, not nan"),
            ("nan", "eps must be a finite number, not nan"),
            (float("inf"), "eps must be a finite number, not inf"),
            ("1e999", "eps must be a finite number"),
            (10**400, "eps must be a finite number"),
            ("a lot", "'a lot' is not a number: write it as 0.03 or 8/255"),
            ("", "'' is not a number"),
            ("8/0", "'8/0' is not a number: write it as 0.03 or 8/255"),
            ("8/255/2", "is not a number"),
            ("8 / x", "is not a number"),
            (None, "eps must be a number, not None"),
            (True, "eps must be a number, not True"),
            ([0.1], "eps must be one size, or 2, one an image, not 1"),
            ({0.1}, "eps must be a number, not set"),
        ],
        ids=lambda v: str(v)[:20],
    )
    def test_eps(self, eps, telling):
        for key in TWO:
            with refused(ParamError, telling):
                attack(key=key, eps=eps)

    def test_the_range_of_eps_is_that_of_the_norm(self):
        attack(eps=5, norm="l2", steps=1)
        with refused(ParamError, "between 0 and 100", "for norm l2", "not 101"):
            attack(eps=101, norm="l2")

    @pytest.mark.parametrize(
        ("steps", "telling"),
        [
            (0, "steps must lie between 1 and 1000, not 0"),
            (-1, "steps must lie between 1 and 1000, not -1"),
            (10**6, "steps must lie between 1 and 1000"),
            (1.5, "steps must be a whole number, not 1.5"),
            ("1.5", "steps must be a whole number, not 1.5"),
            ("many", "is not a number"),
            (True, "steps must be a number, not True"),
        ],
    )
    def test_steps(self, steps, telling):
        with refused(ParamError, telling):
            attack(steps=steps)

    @pytest.mark.parametrize(
        ("name", "value", "telling"),
        [
            ("alpha", -0.01, "alpha must lie between 0 and 1"),
            ("alpha", float("nan"), "alpha must be a finite number"),
            ("momentum", 3, "momentum must lie between 0 and 2, not 3"),
            ("norm", "l3", "norm must be one of linf, l2, l1, not 'l3'"),
            ("norm", None, "norm must be one of linf, l2"),
            ("norm", ["linf"], "norm must be one of linf, l2"),
        ],
    )
    def test_the_others(self, name, value, telling):
        with refused(ParamError, telling):
            attack(key="mi_fgsm", **{name: value})

    def test_an_array_is_no_step_size(self):
        with refused(ParamError, "alpha must be a number, not ndarray"):
            attack(alpha=images(1).numpy())

    def test_unknown_parameter(self):
        with refused(ParamError, "bim has no parameter 'epsilon': it takes eps, steps, alpha, norm"):
            attack(epsilon=0.1)

    def test_what_a_method_fixes_is_no_parameter(self):
        with refused(ParamError, "fgsm has no parameter 'steps'"):
            attack(key="fgsm", steps=3)

    @pytest.mark.parametrize("key", ["magic", "FGSM", "", None])
    def test_unknown_attack(self, key):
        with refused(ParamError, f"there is no attack '{key}': the lab has fgsm, bim"):
            attack(key=key)

    @pytest.mark.parametrize("seed", [1.5, "1", None, True, -1, 2**64])
    def test_seed(self, seed):
        with refused(ParamError, "seed must be a whole number between 0 and 2^64-1, not"):
            attack(seed=seed)

    def test_wrong_parameters_are_told_before_the_model_runs(self):
        def model(x):
            raise AssertionError("the model was run")

        with refused(ParamError, "eps"):
            attack(model=model, eps=-1)

    def test_numbers_may_be_text(self):
        assert number("8/255") == 8 / 255
        assert number(" 0.03 ") == 0.03
        assert number("1e-2") == 0.01
        assert number(3) == 3
        x = images(2)
        assert torch.equal(attack(x, eps="8/255", steps="3").x, attack(x, eps=8 / 255, steps=3).x)
        assert torch.equal(attack(x, alpha="auto").x, attack(x, alpha=None).x)

    def test_truth_may_be_text(self):
        from lab.params import Param, parse

        p = (Param("on", bool, False, None, "", "Whether."),)
        assert [parse(p, {"on": v}, "x")["on"] for v in (True, "true", "0", "off", "Yes")] == [
            True,
            True,
            False,
            False,
            True,
        ]
        with refused(ParamError, "on must be true or false, not 'perhaps'"):
            parse(p, {"on": "perhaps"}, "x")


def changed(value, at=(1, 2, 3, 4)):
    x = images(2)
    x[at] = value
    return x


class TestImages:
    @pytest.mark.parametrize(
        ("x", "telling"),
        [
            (images(1)[0], "images must have the shape [N,C,H,W], not [3, 8, 8]"),
            (images(1)[None], "images must have the shape [N,C,H,W], not [1, 1, 3, 8, 8]"),
            (torch.tensor(0.5), "images must have the shape [N,C,H,W], not []"),
            (images(2).mul(255).to(torch.uint8), "images must be floating point in [0,1], not torch.uint8"),
            (images(2).long(), "divide bytes by 255"),
            (images(2).numpy(), "images must be a tensor [N,C,H,W], not ndarray"),
            ("cat.png", "images must be a tensor [N,C,H,W], not str"),
            (None, "not NoneType"),
            (changed(float("nan")), "images contain NaN or infinity"),
            (changed(float("inf")), "images contain NaN or infinity"),
            (changed(-float("inf")), "images contain NaN or infinity"),
            (changed(1.5), "pixels must lie in [0,1], but these span [0.1"),
            (changed(-0.25), "pixels must lie in [0,1], but these span [-0.25"),
            (images(2) * 255, "pixels must lie in [0,1]"),
            (torch.zeros(2, 3, 0, 8), "images of shape [3, 0, 8] have no pixels"),
            (torch.zeros(2, 0, 8, 8), "images of shape [0, 8, 8] have no pixels"),
        ],
        ids=lambda v: None if isinstance(v, str) else type(v).__name__,
    )
    def test_no_images(self, x, telling):
        for key in TWO:
            with refused(ImageError, telling):
                lab.attack(key, MODEL, x, [0, 0])

    @pytest.mark.parametrize("n", [1, 9])
    @pytest.mark.parametrize("shape", [(1, 8, 8), (4, 8, 8), (3, 9, 8), (3, 1, 1)])
    def test_images_that_the_model_refuses(self, n, shape):
        """However many there are: a large batch is measured before it is run."""
        with refused(ModelError, f"the model cannot take images of shape {list(shape)}: "):
            attack(torch.full((n, *shape), 0.5))

    def test_another_precision_than_the_models(self):
        with refused(ModelError, "the model cannot take images of shape [3, 8, 8]", "double"):
            attack(images(2).double())

    def test_the_ends_of_the_range_are_fine(self):
        x = torch.zeros(2, 3, 8, 8)
        x[1] = 1
        assert attack(x).x.isfinite().all()


class TestLabels:
    @pytest.mark.parametrize(
        ("y", "telling"),
        [
            ([0, 10], "label 10 does not exist: the model has 10 classes, 0 to 9"),
            (10, "label 10 does not exist"),
            ([-1, 0], "label -1 does not exist: classes are numbered from 0"),
            (-1, "label -1 does not exist"),
            (torch.tensor([0.0, 1.0]), "labels must be whole numbers, one per image, not torch.float32"),
            ([0.5, 1], "labels must be whole numbers, one per image"),
            (1.0, "labels must be whole numbers, one per image, not float"),
            (torch.tensor([True, False]), "not torch.bool"),
            (True, "not bool"),
            (torch.zeros(2, dtype=torch.complex64), "not torch.complex64"),
            ("cat", "not str"),
            (["cat", "dog"], "labels must be whole numbers, one per image, not list"),
            ([[0], [0, 1]], "labels must be whole numbers, one per image"),
            ([None, 1], "labels must be whole numbers, one per image"),
            ([10**30, 0], "labels must be whole numbers, one per image"),
            (10**30, "labels must be whole numbers, one per image"),
            (None, "not NoneType"),
            ([0], "labels must have the shape [2], one per image, not [1]"),
            ([0, 1, 2], "labels must have the shape [2], one per image, not [3]"),
            ([], "labels must have the shape [2], one per image, not [0]"),
            (torch.zeros(2, 10, dtype=torch.int64), "labels must have the shape [2], one per image, not [2, 10]"),
        ],
        ids=lambda v: str(v)[:20],
    )
    def test_no_labels(self, y, telling):
        for key in TWO:
            with refused(GoalError, telling):
                lab.attack(key, MODEL, images(2), y)

    @pytest.mark.parametrize(
        ("target", "telling"),
        [
            ([1, 0], "the target of image 0 is its own class 1: choose another class"),
            (1, "the target of image 0 is its own class 1"),
            ([2, 0], "the target of image 1 is its own class 0"),
            (10, "target 10 does not exist: the model has 10 classes, 0 to 9"),
            (-2, "target -2 does not exist: classes are numbered from 0"),
            ([2.0, 3.0], "targets must be whole numbers, one per image"),
            ([2], "targets must have the shape [2], one per image, not [1]"),
            ("cat", "targets must be whole numbers, one per image, not str"),
        ],
        ids=str,
    )
    def test_no_targets(self, target, telling):
        with refused(GoalError, telling):
            attack(y=[1, 0], target=target)

    def test_a_wrong_label_of_the_last_image_is_told_before_any_work(self, monkeypatch):
        monkeypatch.setattr(devices, "SMALL", 1)
        monkeypatch.setattr(devices, "CPU_BUDGET", 1)
        steps = []
        with refused(GoalError, "label 10 does not exist"):
            attack(images(3), [0, 0, 10], progress=Progress(lambda share, what: steps.append(what)))
        assert steps == []

    @pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
    def test_whole_numbers_of_any_size_are_fine(self, dtype):
        x = images(2)
        expected = attack(x, [3, 4])
        assert torch.equal(attack(x, torch.tensor([3, 4], dtype=dtype)).x, expected.x)
        assert torch.equal(attack(x, (3, 4)).x, expected.x)
        assert torch.equal(attack(x, torch.tensor([3, 4]).numpy().tolist()).x, expected.x)


def broken_later():
    """Fine at the driver's two looks and the attack's first, then NaN."""
    calls = []

    def model(x):
        calls.append(1)
        return MODEL(x) * (float("nan") if len(calls) > 3 else 1)

    return model


class Refuses(nn.Module):
    """Refuses images of another size, as torchvision's transformers do."""

    def forward(self, x):
        torch._assert(x.shape[-1] == 224, f"Wrong image width! Expected 224\nbut got {x.shape[-1]}!")
        return x.flatten(1)[:, :10]


class TestModels:
    @pytest.mark.parametrize(
        ("model", "telling"),
        [
            (lambda x: MODEL(x)[:, :1], "the model has one class only"),
            (lambda x: MODEL(x) * float("nan"), "the model answers NaN or infinity for these images"),
            (lambda x: MODEL(x) / 0, "the model answers NaN or infinity for these images"),
            (lambda x: (MODEL(x), x), "but answered tuple of 2: lab.wrap(model, output=...) makes such a model of it"),
            (lambda x: {"scores": MODEL(x)}, "but answered dict"),
            (lambda x: None, "but answered NoneType"),
            (lambda x: MODEL(x).detach().numpy(), "but answered ndarray"),
            (lambda x: MODEL(x)[0], "one row of logits per image, [2, classes], but answered [10]"),
            (lambda x: MODEL(x)[:1], "but answered [1, 10]"),
            (lambda x: MODEL(x).argmax(1), "but answered [2]"),
            (lambda x: MODEL(x)[:, :, None, None], "but answered [2, 10, 1, 1]"),
            (lambda x: MODEL(x)[:, :0], "the model has"),
            (broken_later, "the model answered NaN or infinity during the attack: check its weights"),
            (Refuses(), "the model cannot take images of shape [3, 8, 8]: Wrong image width! Expected 224"),
            (nn.Linear(5, 5), "the model cannot take images of shape [3, 8, 8]"),
            (lambda: None, "the model cannot take images of shape [3, 8, 8]"),
            ("mnist/cnn", "a model must be callable"),
            (None, "a model must be callable"),
        ],
        ids=lambda v: re.sub(r"\W+", " ", v)[:40] if isinstance(v, str) else type(v).__name__,
    )
    @pytest.mark.filterwarnings("ignore:the model's gradient is NaN")
    def test_no_classifier(self, model, telling):
        for key in ("fgsm", "bim"):
            with refused(ModelError, telling):
                lab.attack(key, model() if model is broken_later else model, images(2), 0)

    @pytest.mark.parametrize("n", [2, 9])
    def test_probabilities_instead_of_logits_are_pointed_out_once(self, n, monkeypatch):
        monkeypatch.setattr(devices, "CPU_BUDGET", 1)
        with pytest.warns(LabWarning, match="seems to answer probabilities; attacks expect logits") as told:
            attack(images(n), model=lambda x: MODEL(x).softmax(1))
        assert len(told) == 1
        assert len(str(told[0].message).splitlines()) == 1

    def test_an_error_of_the_attack_itself_is_not_dressed_up(self):
        def faulty(model, x, goal, rng):
            yield Iterate(x, model(x))
            raise RuntimeError("a mistake in the attack")

        with pytest.raises(RuntimeError, match="a mistake in the attack"):
            run(faulty, MODEL, images(2), Goal(torch.tensor([0, 0])))
