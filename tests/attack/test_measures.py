"""What the analysis says is true where the truth is known: on linear models, on cosines, on files read back."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

import lab
from lab.attacks.norms import NORMS
from lab.experiments.attack.linearity import along, noise_like
from lab.experiments.attack.plane import plane
from lab.experiments.attack.request import Request
from lab.experiments.attack.run import run_attack
from lab.experiments.attack.saved import survival
from lab.experiments.attack.spectrum import similarity, spectrum
from lab.images import encode, from_picture, to_picture
from lab.predict import logits_of
from lab.progress import Progress
from lab.types import Goal
from tests.support.nets import Small, images

SIZE = {"linf": 0.1, "l2": 1.5}
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def linear(x):
    """Logits that are linear in the image."""
    w = torch.randn(4, x[0].numel(), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return (x.double() - 0.5).flatten(1) @ w.T


def attacked(model, norm, seed=0, eps=None):
    """An image, the class that a model sees in it, and the perturbation of one step."""
    x = images(1, seed=seed).double()
    y = model(x).argmax(1)
    return x, y, lab.attack("fgsm", model, x, y, eps=eps or SIZE[norm], norm=norm).x - x


class TestLine:
    @both_norms
    def test_a_linear_model_gives_straight_lines(self, norm):
        x, _, delta = attacked(linear, norm)
        line = along(linear, x, delta, norm, points=21)
        assert line.logits.shape == line.noise.shape == (21, 4)
        assert line.eps[10] == 0
        length = NORMS[norm].length(delta).item()
        assert line.eps[[0, -1]].tolist() == pytest.approx([-length, length], rel=1e-6)
        for logits in (line.logits, line.noise):
            assert torch.allclose(logits[10], linear(x)[0])
            assert logits.diff(n=2, dim=0).abs().max() < 1e-5 * logits.abs().max()
        assert torch.allclose(line.logits[-1], linear(x + delta)[0])
        assert torch.allclose(line.logits[0], linear(x - delta)[0])

    @both_norms
    @pytest.mark.parametrize("seed", range(4))
    def test_the_flip_of_a_linear_model_is_where_two_lines_cross(self, norm, seed):
        x, y, delta = attacked(linear, norm, seed, eps=3 * SIZE[norm])
        line = along(linear, x, delta, norm)
        start, slope = linear(x)[0], linear(x + delta)[0] - linear(x)[0]
        y = int(y)
        crossings = [(start[y] - start[j]) / (slope[j] - slope[y]) for j in range(4) if slope[j] > slope[y]]
        expected = min(c.item() for c in crossings) * NORMS[norm].length(delta).item()
        assert line.flip == pytest.approx(expected, rel=1e-3)
        # that is the distance from which on the class is another one
        step = delta / NORMS[norm].length(delta)
        assert linear(x + line.flip * 1.001 * step).argmax() != y
        assert linear(x + line.flip * 0.999 * step).argmax() == y

    def test_a_chosen_class_is_reached_no_sooner_than_the_class_changes(self):
        x, y, _ = attacked(linear, "l2")
        directions = lab.attack("bim", linear, x, y, target=(y + 1) % 4, norm="l2", eps=3 * SIZE["l2"]).x - x
        line = along(linear, x, directions, "l2", goal=Goal((y + 1) % 4, targeted=True))
        at = line.eps[len(line.eps) // 2 :]
        won = line.logits[len(line.eps) // 2 :].argmax(1) == int(y + 1) % 4
        first = int(won.nonzero()[0])
        assert at[first - 1] <= line.reached <= at[first] + 1e-6
        assert line.flip <= line.reached
        assert line.noise_reached <= line.noise_share
        untargeted = along(linear, x, directions, "l2")
        assert untargeted.reached == untargeted.flip == line.flip

    def test_no_flip_is_none(self):
        x, _, delta = attacked(linear, "linf")
        line = along(linear, x, -delta / 1000, "linf")
        assert line.flip is None

    @both_norms
    def test_noise_is_as_large_as_the_perturbation_and_repeats_by_seed(self, norm):
        x, _, delta = attacked(linear, norm)
        noise = noise_like(delta, norm, seed=1)
        assert NORMS[norm].length(noise).item() == pytest.approx(NORMS[norm].length(delta).item(), rel=1e-6)
        assert torch.equal(noise, noise_like(delta, norm, seed=1))
        assert not torch.equal(noise, noise_like(delta, norm, seed=2))
        line = along(linear, x, delta, norm, seed=1)
        assert torch.allclose(line.noise[-1], linear(x + noise)[0])
        if line.noise_flip is not None:
            where = x + noise * (line.noise_flip * 1.001 / NORMS[norm].length(delta))
            assert linear(where).argmax() != linear(x).argmax()

    def test_no_perturbation_is_no_line_but_no_crash_either(self):
        x = images(1).double()
        line = along(linear, x, torch.zeros_like(x), "linf")
        assert line.flip is None
        assert line.noise_flip is None
        assert line.logits.isfinite().all()
        assert line.noise.isfinite().all()


class TestPlane:
    @both_norms
    def test_the_image_and_the_attacked_image_lie_on_it(self, norm):
        model = Small().double()
        x, y, delta = attacked(model, norm)
        heard = []
        found = plane(
            model, x, delta, norm, points=21, reach=2.0, progress=Progress(lambda share, what: heard.append(share))
        )
        assert found.classes.shape == found.confidence.shape == (21, 21)
        assert found.along[[5, 10, 15]].tolist() == pytest.approx([-1, 0, 1])
        for at, image in ((10, x), (15, x + delta), (5, x - delta)):
            p = logits_of(model, image)[0].softmax(0)
            assert found.classes[10, at] == p.argmax()
            assert found.confidence[10, at].item() == pytest.approx(p.max().item(), rel=1e-5)
        assert found.classes[10, 10] == y
        assert found.classes[10, 15] != y
        assert heard == sorted(heard)
        assert heard[-1] == 1

    def test_on_a_linear_model_logits_fall_with_the_noise_alone_across(self):
        """The other axis is orthogonal to the attack: what depends on the attack's direction does not change on it."""
        x, _, delta = attacked(linear, "l2")

        def model(z):
            t = (z * delta).flatten(1).sum(1)
            return torch.stack([t, torch.zeros_like(t)], 1)

        found = plane(model, x, delta, "l2", points=11)
        assert torch.allclose(found.confidence, found.confidence[5].expand(11, -1), atol=1e-9)

    def test_no_perturbation_is_a_plane_of_one_class(self):
        x = images(1).double()
        found = plane(linear, x, torch.zeros_like(x), "linf", points=3)
        assert (found.classes == linear(x).argmax()).all()


class TestFiles:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_png_keeps_the_rounded_image_exactly(self, channels):
        x = images(1, channels)
        x[0, 0, 0, :4] = torch.tensor([0.0, 1.0, 0.4999 / 255, 254.5001 / 255])
        with Image.open(io.BytesIO(encode(x[0]))) as picture:
            assert picture.mode == ("L" if channels == 1 else "RGB")
            back = from_picture(picture)
        assert torch.equal(back, (x * 255).round() / 255)
        assert (back[0, 0, 0, :4] * 255).tolist() == [0, 255, 0, 255]
        assert torch.equal(from_picture(to_picture(back[0])), back)

    def test_each_of_256_values_comes_back(self):
        x = (torch.arange(256) / 255).view(1, 1, 16, 16)
        with Image.open(io.BytesIO(encode(x[0]))) as picture:
            assert torch.equal(from_picture(picture), x)

    @pytest.mark.parametrize("targeted", [False, True])
    def test_what_is_judged_is_what_a_person_downloads(self, targeted):
        model = Small()
        x = (images(1) * 255).round() / 255
        y = model(x).argmax(1)
        target = (y + 1) % 10 if targeted else None
        result = lab.attack("bim", model, x, y, target=target, eps=0.1 if targeted else 0.03)
        goal = Goal(y if target is None else target, targeted)
        computed, png, jpeg = survival(model, x, result.x, goal)
        assert computed.data == b""
        assert torch.equal(computed.logits, model(result.x)[0])
        assert computed.success == bool(result.success[0])
        assert computed.linf == pytest.approx(result.distance["linf"].item())
        for saved, magic in ((png, b"\x89PNG"), (jpeg, b"\xff\xd8")):
            assert saved.data.startswith(magic)
            with Image.open(io.BytesIO(saved.data)) as picture:
                seen = torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0) / 255
            assert torch.equal(saved.logits, model(seen)[0])
            assert saved.success == ((saved.logits.argmax() == target) if targeted else (saved.logits.argmax() != y))
            assert saved.linf == pytest.approx((seen - x).abs().max().item())
        assert computed.success
        assert png.linf <= result.distance["linf"] + 0.5 / 255 + 1e-6

    def test_rounding_can_undo_an_attack_and_then_it_says_so(self):
        def model(x):
            """Class 1 from 100.2/255 on."""
            return torch.stack([torch.full((len(x),), 100.2 / 255), x.mean((1, 2, 3))], 1)

        x = torch.full((1, 1, 8, 8), 100 / 255)
        found = survival(model, x, x + 0.4 / 255, Goal(torch.tensor([0])))
        assert [s.success for s in found] == [True, False, False]
        assert [s.linf * 255 for s in found] == pytest.approx([0.4, 0, 0], abs=1e-3)


class TestSpectrum:
    @pytest.mark.parametrize(("fy", "fx"), [(0, 3), (5, 0), (2, 7)])
    def test_a_cosine_has_two_peaks(self, fy, fx):
        h, w = 32, 24
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        wave = torch.cos(2 * math.pi * (fy * rows / h + fx * columns / w))
        amplitudes = spectrum(torch.stack([wave, wave, wave]))
        assert amplitudes.shape == (h, w)
        expected = torch.zeros(h, w)
        expected[h // 2 + fy, w // 2 + fx] = expected[h // 2 - fy, w // 2 - fx] = h * w / 2
        assert torch.allclose(amplitudes, expected, atol=1e-2)

    def test_a_constant_is_all_in_the_centre(self):
        amplitudes = spectrum(torch.full((1, 8, 8), 0.5))
        assert amplitudes[4, 4] == 32
        assert amplitudes.sum() == pytest.approx(32, abs=1e-4)


class TestSimilarity:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_an_image_is_like_itself_and_less_like_others(self, channels):
        x = images(1, channels, 32)
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) - 0.5
        assert similarity(x, x) == pytest.approx(1, abs=1e-6)
        near, far = similarity(x + 0.05 * noise, x), similarity(x + 0.4 * noise, x)
        assert 0 < far < near < 1
        assert similarity(x, x + 0.4 * noise) == pytest.approx(far, abs=1e-5)


CLASSES = tuple(str(k) for k in range(10))


def run_on(model, x, attack, target=None, **params):
    """A run of an attack on an image of no data set."""
    return run_attack(Request("", "", "", attack, params, target), model, x, CLASSES)


class TestRun:
    @pytest.mark.parametrize("target", [None, 4])
    def test_a_run_is_the_attack_with_what_one_wants_to_see(self, target):
        model, x = Small(3, 10, 16), images(1, 3, 16)
        clean_class = int(model(x).argmax())
        target = None if target is None else (clean_class + target) % 10
        run = run_on(model, x, "bim", target, eps="8/255", norm="linf")
        direct = lab.attack("bim", model, x, clean_class, target=target, eps="8/255", trace=True)
        assert torch.equal(run.result.x, direct.x)
        assert run.clean_class == clean_class
        assert run.attacked_class == int(direct.predictions[0])
        assert run.success == bool(direct.success[0])
        assert torch.equal(run.goal.labels, torch.tensor([clean_class if target is None else target]))
        assert torch.allclose(run.clean_probabilities, model(x)[0].softmax(0))
        assert torch.allclose(run.attacked_probabilities, model(direct.x)[0].softmax(0))
        assert torch.equal(run.delta, direct.x - x)
        assert run.size == pytest.approx(8 / 255, rel=1e-4)
        assert run.ssim == pytest.approx(similarity(direct.x, x))
        assert len(run.result.frames) == 11

    def test_the_size_is_told_in_the_attacks_norm(self):
        run = run_on(Small(3, 10, 16), images(1, 3, 16), "fgsm", eps=0.5, norm="l2")
        assert run.size == pytest.approx(0.5, rel=1e-4)
        smallest = run_on(Small(3, 10, 16), images(1, 3, 16), "cw", steps=20, searches=2)
        assert smallest.size == smallest.result.distance["l2"][0].item()

    def test_a_run_that_is_stopped_says_so_and_keeps_what_it_had(self):
        heard = []
        progress = Progress(lambda share, what: heard.append(share), stop=lambda: len(heard) > 3)
        request = Request("", "", "", "bim", {"eps": "8/255", "steps": 50})
        run = run_attack(request, Small(3, 10, 16), images(1, 3, 16), CLASSES, progress=progress)
        assert not run.result.complete
        assert run.record()["result"]["complete"] is False
        assert run.size > 0


class TestPredict:
    def test_chunks_and_progress(self):
        model, x = Small(), images(10)
        heard = []
        logits = logits_of(model, x, rows=4, progress=Progress(lambda share, what: heard.append(share)))
        assert torch.allclose(logits, model(x), atol=1e-5)
        assert not logits.requires_grad
        assert heard == [0.4, 0.8, 1.0]
