"""How far an attack is: told within iterations that ask much of the model, which can be stopped there, too."""

import pytest
import torch

import lab
from lab.attacks.catalog import find_attack
from lab.attacks.driver import planned
from lab.progress import Progress
from tests.support.attacks import case


@pytest.mark.parametrize("key", ["hopskipjump", "vmi_fgsm"])
def test_the_bar_moves_within_a_long_iteration_and_never_goes_back(key):
    model, x, y = case(n=1)
    told = []
    lab.attack(key, model, x, y, steps=4, progress=Progress(lambda share, what: told.append((share, what))))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert all(0 <= share < 1 for share in shares)
    second = {share for share, what in told if what[0].startswith("iteration 2 of ")}
    assert len(second) > 3


def test_an_attack_stops_within_a_long_iteration_with_what_it_has():
    model, x, y = case(n=1)
    passes = []

    def watched(images):
        passes.append(len(images))
        return model(images)

    whole = lab.attack("hopskipjump", watched, x, y, steps=2)
    needed, passes[:] = len(passes), []
    part = lab.attack("hopskipjump", watched, x, y, steps=2, progress=Progress(stop=lambda: len(passes) > needed // 2))
    assert whole.complete
    assert not part.complete
    assert len(passes) < needed
    assert 0 < part.queries[0] < whole.queries[0]
    assert torch.equal(part.predictions, model(part.x).argmax(1))


def test_stopped_before_its_first_iterate_it_still_has_a_frame():
    model, x, y = case(n=2)
    part = lab.attack("hopskipjump", model, x, y, steps=2, trace=True, progress=Progress(stop=lambda: True))
    assert not part.complete
    assert len(part.frames) == 1
    assert torch.equal(part.x, x)


@pytest.mark.parametrize("key", ["autoattack", "jsma"])
def test_an_attack_without_a_number_of_steps_tells_how_many_it_makes_at_most(key):
    model, x, y = case(n=2)
    options = {"version": "quick", "eps": 0.001} if key == "autoattack" else {"theta": 0.02, "gamma": 0.2}
    steps = planned(find_attack(key).build(**options), x)
    frames = []
    lab.attack(key, model, x, y, trace=2, progress=Progress(see=lambda seen: frames.append(len(seen))), **options)
    assert 2 < frames[-1] <= steps + 1


def test_what_there_is_to_see_is_shown_while_an_attack_is_traced():
    model, x, y = case(n=1)
    seen = []
    result = lab.attack("bim", model, x, y, steps=5, trace=True, progress=Progress(see=lambda f: seen.append(f[-1])))
    assert [frame.step for frame in seen] == [0, 1, 2, 3, 4, 5]
    assert torch.equal(seen[-1].x, result.x)
    seen.clear()
    lab.attack("bim", model, x, y, steps=5, progress=Progress(see=lambda f: seen.append(f[-1])))
    assert seen == []
