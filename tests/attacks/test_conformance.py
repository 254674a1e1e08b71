"""What every attack of the catalogue keeps to, whatever it does inside; a new entry is covered by being there."""

import copy
import math

import pytest
import torch
from torch import nn

import lab
from lab import devices
from lab.attacks import CATALOG
from lab.gate import make_goal
from lab.progress import Progress
from lab.types import Access, Goal, Iterate
from tests.support.attacks import (
    ATTACKS,
    CASES,
    COLOUR,
    EPS,
    EVERY,
    FIRST,
    GRAY,
    SHAPED,
    case,
    close,
    equal,
    global_rng,
    has,
    in_chunks_of,
    length,
    over,
    patience,
    settings_of,
    state_of,
)
from tests.support.driver import run
from tests.support.nets import images

ALONE = over([(k, n) for k, n in CASES if not CATALOG[k].joint])
JOINT = over([(k, n) for k, n in CASES if CATALOG[k].joint])
STEPPED = [(k, n) for k, n in FIRST if has(k, "steps")]
LASTING = [(k, n) for k, n in STEPPED if not CATALOG[k].until_reached]


def draws(key, norm):
    """Whether an attack uses the random numbers that it is given."""
    model, x, y = case()
    attack, drawn = CATALOG[key].build(**settings_of(key, norm)), []

    def observed(model, x, goal, rng):
        before = rng.get_state()
        yield from attack(model, x, goal, rng)
        drawn.append(not torch.equal(before, rng.get_state()))

    run(observed, model, x, Goal(y), access=CATALOG[key].access)
    return drawn == [True]


@EVERY
@SHAPED
def test_the_answer_is_a_picture_within_the_budget_and_its_measures_are_true(key, norm, channels, classes, n):
    model, x, y = case(channels, classes, n)
    result = lab.attack(key, model, x, y, **settings_of(key, norm))
    assert result.x.dtype == x.dtype
    assert result.x.shape == x.shape
    assert not result.x.requires_grad
    assert result.x.isfinite().all()
    assert result.x.min() >= 0
    assert result.x.max() <= 1
    d = result.x - x
    if norm in EPS and "eps" in settings_of(key, norm):
        assert (length(result.x.double() - x.double(), norm) <= EPS[norm]).all(), "to the last digit"
        assert max(result.distance[norm].tolist()) <= EPS[norm]
    assert (length(d, "l2") > 0).all()
    with torch.no_grad():
        logits = model(result.x)
    assert torch.equal(result.predictions, logits.argmax(1))
    assert torch.equal(result.success, logits.argmax(1) != y)
    assert torch.allclose(result.confidence, logits.softmax(1).amax(1))
    assert torch.allclose(result.distance["linf"], length(d, "linf"))
    assert torch.allclose(result.distance["l2"], length(d, "l2"))
    assert torch.allclose(result.distance["l1"], length(d, "l1"))
    assert torch.equal(result.distance["l0"], (d != 0).flatten(1).sum(1))
    assert result.complete
    assert result.frames == ()
    for value in (result.queries, result.backwards, result.success, result.confidence, *result.distance.values()):
        assert value.shape == (n,)
        assert not value.requires_grad


@ATTACKS
@pytest.mark.parametrize(
    ("channels", "classes", "n", "trace"), [(*GRAY, False), (*COLOUR, True)], ids=["gray", "colour, traced"]
)
def test_inputs_model_and_the_worlds_random_numbers_stay_as_they_were(key, norm, channels, classes, n, trace):
    model, x, y = case(channels, classes, n)
    x_before, y_before, model_before, rng_before = x.clone(), y.clone(), state_of(model), global_rng()
    result = lab.attack(key, model, x, y, trace=trace, **settings_of(key, norm))
    assert state_of(model) == model_before
    assert global_rng() == rng_before
    assert torch.equal(x, x_before)
    assert torch.equal(y, y_before)
    assert not x.requires_grad
    assert x.grad is None
    # nor can the caller reach back through the result
    result.x.zero_()
    assert torch.equal(x, x_before)


@ATTACKS
def test_a_trace_changes_no_bit(key, norm):
    model, x, y = case()
    plain, traced = (lab.attack(key, model, x, y, seed=5, trace=t, **settings_of(key, norm)) for t in (False, True))
    assert equal(plain, traced)


@EVERY
def test_the_same_seed_gives_the_same_bits_and_another_differs_where_the_attack_is_random(key, norm):
    model, x, y = case()
    rng_before = global_rng()
    a, again, b = (lab.attack(key, model, x, y, seed=s, **settings_of(key, norm)) for s in (0, 0, 1))
    assert global_rng() == rng_before
    assert equal(a, again)
    if (key, norm) != ("vni_fgsm", "l1"):  # its few steps move one value each, and chance decides on none of them
        assert torch.equal(a.x, b.x) != draws(key, norm)


def test_pgd_is_random_and_bim_is_not():
    assert draws("pgd", "linf")
    assert not draws("bim", "linf")


@ALONE
@pytest.mark.parametrize(
    ("channels", "classes", "targeted"), [(*GRAY[:2], False), (*COLOUR[:2], True)], ids=["gray", "targeted"]
)
def test_an_image_alone_is_attacked_as_in_company(key, norm, channels, classes, targeted):
    model, x, y = case(channels, classes, 3, torch.float64)
    target = (y + 1) % classes if targeted else None
    together = lab.attack(key, model, x, y, target=target, seed=3, **settings_of(key, norm))
    for i in range(3):
        row = slice(i, i + 1)
        aim = target[row] if targeted else None
        alone = lab.attack(key, model, x[row], y[row], target=aim, seed=3, **settings_of(key, norm))
        assert torch.allclose(alone.x, together.x[row], rtol=0, atol=1e-9)
        assert torch.equal(alone.success, together.success[row])
        assert torch.equal(alone.predictions, together.predictions[row])


@JOINT
@pytest.mark.parametrize(
    ("channels", "classes", "targeted"), [(*GRAY[:2], False), (*COLOUR[:2], True)], ids=["gray", "targeted"]
)
def test_a_joint_attack_changes_all_images_alike_but_for_clipping(key, norm, channels, classes, targeted):
    model, x, y = case(channels, classes, 5, torch.float64)
    target = (y + 1) % classes if targeted else None
    frames = lab.attack(key, model, x, y, target=target, trace=True, **settings_of(key, norm)).frames
    for f in frames[1:]:
        d = f.x - x
        shared = d.gather(0, d.abs().argmax(0, keepdim=True))  # the one that was clipped least
        assert shared.abs().max() > 0
        assert torch.allclose(f.x, (x + shared).clamp(0, 1), rtol=0, atol=1e-12)


@over([(k, n) for k, n in FIRST if not CATALOG[k].joint])
def test_chunks_do_not_change_the_result_nor_the_frames(key, norm, monkeypatch):
    model, x, y = case(n=5, dtype=torch.float64)
    whole = lab.attack(key, model, x, y, seed=2, trace=True, **settings_of(key, norm))
    in_chunks_of(monkeypatch, 2, model, x)
    split = lab.attack(key, model, x, y, seed=2, trace=True, **settings_of(key, norm))
    close(whole, split)
    assert len(whole.frames) == len(split.frames)
    for a, b in zip(whole.frames, split.frames, strict=True):
        assert a.step == b.step
        assert torch.allclose(a.x, b.x, rtol=0, atol=1e-9)
        assert torch.allclose(a.loss, b.loss, rtol=0, atol=1e-9)
        assert torch.allclose(a.margin, b.margin, rtol=0, atol=1e-9)
        assert torch.equal(a.queries, b.queries)
        assert torch.equal(a.success, b.success)


def test_the_measure_of_memory_leaves_the_model_and_the_images_alone(monkeypatch):
    model, x, y = case(n=3)
    before, images_before = state_of(model), x.clone()
    monkeypatch.setattr(devices, "SMALL", 1)
    lab.attack("bim", model, x, y, steps=2)
    assert state_of(model) == before
    assert torch.equal(x, images_before)
    assert not x.requires_grad


@ATTACKS
def test_frames_tell_the_way_from_the_start_to_the_result(key, norm):
    model, x, y = case()
    result = lab.attack(key, model, x, y, trace=True, **settings_of(key, norm))
    assert [f.step for f in result.frames] == list(range(len(result.frames)))
    queries = torch.stack([f.queries for f in result.frames])
    assert (queries.diff(dim=0) >= 0).all()
    assert torch.equal(queries[-1], result.queries)
    for f in result.frames:
        with torch.no_grad():
            logits = model(f.x)
        assert torch.allclose(f.loss, nn.functional.cross_entropy(logits, y, reduction="none"), atol=1e-6)
        assert torch.equal(f.predictions, logits.argmax(1))
        assert torch.equal(f.success, f.margin < 0)
        assert torch.allclose(f.distance["l2"], length(f.x - x, "l2"), atol=1e-6)
    if CATALOG[key].keep == "last":
        assert torch.equal(result.frames[-1].x, result.x)
        assert torch.equal(result.frames[-1].success, result.success)


@over(STEPPED)
def test_one_step_works_and_is_evaluated(key, norm):
    model, x, y = case()
    result = lab.attack(key, model, x, y, trace=True, **settings_of(key, norm, steps=1))
    assert not torch.equal(result.x, x)
    assert torch.equal(result.predictions, model(result.x).argmax(1))


class Constant(nn.Module):
    """Logits that want a gradient but have none with respect to the images."""

    def __init__(self):
        super().__init__()
        self.row = nn.Parameter(torch.tensor([3.0, 1.0, 2.0]))

    def forward(self, x):
        return self.row.expand(len(x), -1)


class Saturated(nn.Module):
    """Depends on the images, with a gradient that is exactly zero."""

    def forward(self, x):
        return (x.flatten(1)[:, :3] * 0).clamp(1, 2) + torch.tensor([3.0, 1.0, 2.0])


@EVERY
def test_a_model_without_a_slope_neither_crashes_nor_gives_nan(key, norm):
    x = images(2)
    for model in (Constant(), Saturated(), lambda x: torch.zeros(len(x), 3)):
        result = lab.attack(key, model, x, 0, **settings_of(key, norm))
        assert result.x.isfinite().all()
        assert result.x.min() >= 0
        assert result.x.max() <= 1
        assert not result.success.any()
        if norm in EPS:
            assert (length(result.x - x, norm) <= EPS[norm] * (1 + 1e-6) + 1e-6).all()


def test_momentum_goes_on_after_a_zero_gradient():
    """An image whose first gradient is zero is not frozen for good."""

    class Wakes(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            slope = 0 if self.calls == 3 else 1  # the driver looks twice before the attack begins
            return torch.stack([x.flatten(1).mean(1) * slope, x.flatten(1).mean(1) * 0], 1)

    x = images(1)
    frames = lab.attack("mi_fgsm", Wakes().eval(), x, 0, steps=3, trace=True).frames
    assert torch.equal(frames[1].x, x)
    assert (frames[2].x < x).all()


class Witness(nn.Module):
    """Counts images, and whether autograd watched; passes everything on."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.rows, self.watched = 0, False

    def forward(self, x):
        self.rows += len(x)
        logits = self.net(x)
        self.watched |= logits.requires_grad
        return logits


@ATTACKS
def test_only_white_box_attacks_use_autograd(key, norm):
    model, x, y = case()
    witness = Witness(model).eval()
    result = lab.attack(key, witness, x, y, **settings_of(key, norm))
    white = CATALOG[key].access is Access.GRADIENTS
    assert witness.watched == white
    assert (result.backwards > 0).all() == white
    assert (result.queries > 0).all()


@pytest.mark.parametrize("access", [Access.SCORES, Access.LABELS])
def test_a_black_box_attack_gets_no_gradient_even_if_it_asks(access):
    model, x, y = case()
    witness, answers = Witness(model).eval(), []

    def curious(model, x, goal, rng):
        for _ in range(3):
            with torch.enable_grad():
                answers.append(model(x.clone().requires_grad_()))
            yield Iterate(x)
            x = (x + 0.1 * torch.rand(x.shape, generator=rng)).clamp(0, 1)

    result = run(curious, witness, x, Goal(y), access=access)
    assert not witness.watched
    assert not any(a.requires_grad for a in answers)
    assert torch.equal(result.queries, torch.full((3,), 3))
    assert torch.equal(result.backwards, torch.zeros(3, dtype=torch.int64))
    if access is Access.LABELS:
        assert all(a.dtype == torch.int64 and a.shape == (3,) for a in answers)
        assert torch.equal(answers[0], y)
    else:
        assert torch.allclose(answers[0], model(x))


def test_every_attack_and_parameter_is_described():
    for spec in CATALOG.values():
        assert spec.papers, spec.key
        for paper in spec.papers:
            assert 1990 < paper.year < 2100
            assert paper.url.startswith("https://")
            assert str(paper.year) in paper.citation
        assert len(spec.formula) > 10, spec.key
        assert spec.summary.endswith("."), spec.key
        assert len(spec.name) >= 2, spec.key
        for p in spec.params:
            assert len(p.help) > 15, p.name
            assert p.help.endswith("."), p.name
            assert p.choices or p.kind is bool or p.bounds, p.name
            assert p.optional or p.default is not None, p.name
            for low, high in p.bounds.values() if isinstance(p.bounds, dict) else [p.bounds] if p.bounds else []:
                assert low < high, p.name
        by_choice = {p.bounds_by for p in spec.params if p.bounds_by}
        assert by_choice <= {p.name for p in spec.params if p.choices}
        spec.build()  # the defaults are within the ranges


@over(LASTING)
def test_cancelling_leaves_what_there_was(key, norm):
    model, x, y = case()
    settings = settings_of(key, norm)
    whole = lab.attack(key, model, x, y, trace=True, **settings)
    seen = []
    after_two = Progress(see=lambda frames: seen.append(len(frames)), stop=lambda: len(seen) == 2)
    part = lab.attack(key, model, x, y, trace=True, progress=after_two, **settings)
    assert not part.complete
    assert whole.complete
    assert len(part.frames) == 2 < len(whole.frames)
    assert torch.equal(part.frames[1].x, whole.frames[1].x)
    assert torch.equal(part.x, whole.frames[1].x)
    assert torch.equal(part.predictions, model(part.x).argmax(1))


@over([(k, n) for k, n in LASTING if not CATALOG[k].joint])
@pytest.mark.parametrize("trace", [False, True])
def test_cancelling_before_a_later_chunk_still_answers_for_every_image(key, norm, trace, monkeypatch):
    model, x, y = case(n=5)
    in_chunks_of(monkeypatch, 2, model, x)
    told = [0.0]
    in_the_second_chunk = Progress(lambda share, what: told.append(share), lambda: told[-1] >= 0.4)
    result = lab.attack(key, model, x, y, trace=trace, progress=in_the_second_chunk, **settings_of(key, norm))
    assert not result.complete
    assert torch.equal(result.predictions, model(result.x).argmax(1))
    assert torch.equal(result.success, result.predictions != y)
    assert not torch.equal(result.x[:2], x[:2])
    assert torch.equal(result.x[4], x[4])
    assert result.queries[4] == 0
    assert result.distance["l0"][4] == 0
    for f in result.frames:
        assert f.x.shape == x.shape
        assert f.loss.shape == f.success.shape == f.queries.shape == f.distance["l2"].shape == (5,)


def test_progress_hears_of_every_iterate_and_of_the_share_of_all_images(monkeypatch):
    model, x, y = case(n=4)
    in_chunks_of(monkeypatch, 2, model, x)
    heard = []
    lab.attack("bim", model, x, y, steps=2, progress=Progress(lambda share, what: heard.append((share, *what))))
    told = [f"iteration {k} of 2" for k in (0, 1, 2, 0, 1, 2)]
    assert heard == [(pytest.approx(k / 6), what) for k, what in enumerate(told)]


@over([(k, n) for k, n in STEPPED if not CATALOG[k].joint])
@pytest.mark.parametrize("targeted", [False, True])
def test_dropping_the_solved_finds_the_same_with_fewer_queries(key, norm, targeted):
    model, x, y = case(n=8)
    goal = Goal((y + 1) % 10, True) if targeted else Goal(y)
    eps = {"linf": 0.15, "l2": 1.2, "l1": 40.0}.get(norm)
    attack = CATALOG[key].build(**settings_of(key, norm, steps=patience(key, 12), eps=eps))
    keep, access = CATALOG[key].keep, CATALOG[key].access
    full = run(attack, model, x, goal, seed=1, trace=True, keep=keep, access=access)
    quick = run(attack, model, x, goal, seed=1, drop_solved=True, keep=keep, access=access)
    assert full.success.any()
    assert torch.equal(quick.success, full.success)
    assert torch.equal(model(quick.x).argmax(1) == goal.labels, quick.success == targeted)
    assert (quick.queries <= full.queries).all()
    assert (quick.backwards <= full.backwards).all()
    if keep == "last":
        early = torch.stack([f.success for f in full.frames])[:-2].any(0)
        assert early.any()
        assert (quick.queries[early] < full.queries[early]).all()
        # each image ends at its first success
        for i in full.success.nonzero().flatten().tolist():
            first = next(f.x[i] for f in full.frames if f.success[i])
            assert torch.allclose(quick.x[i], first, rtol=0, atol=1e-5)


def test_an_attack_that_cannot_drop_images_is_run_all_the_same():
    """Four images darken step by step and fall one after another, the last one never; none is ever left out."""
    x = torch.tensor([0.6, 0.8, 0.7, 1.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    sizes = []

    def darken(model, x, goal, rng):
        for k in range(5):
            now = (x - 0.1 * k).clamp(0, 1)
            yield Iterate(now, model(now))

    def model(x):
        sizes.append(len(x))
        return torch.stack([x[:, 0, 0, 0], torch.full((len(x),), 0.55)], 1)

    result = run(darken, model, x, make_goal(x, 0), drop_solved=True)
    assert result.success.tolist() == [True, True, True, False]
    assert torch.allclose(result.distance["linf"], torch.tensor([0.1, 0.3, 0.2, 0.4]))
    assert torch.allclose(result.x[:, 0, 0, 0], torch.tensor([0.5, 0.5, 0.5, 0.6]))
    assert result.queries.tolist() == [2, 4, 3, 5]
    assert sizes == [2, 1] + [4] * 5, "the driver looks at two images and at one of them again, the attack at all"


def test_settled_images_are_dropped_once_they_succeeded():
    """All call themselves settled at the second iterate; the first image alone is fooled by then."""
    x = torch.tensor([0.6, 0.8]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    sent = []

    def darken(model, x, goal, rng):
        for k in range(5):
            now = (x - 0.1 * k).clamp(0, 1)
            rows = yield Iterate(now, model(now), settled=torch.full((len(x),), k == 1))
            x = x if rows is None else x[rows]
            sent.append(None if rows is None else rows.tolist())

    def model(x):
        return torch.stack([x[:, 0, 0, 0], torch.full((len(x),), 0.55)], 1)

    result = run(darken, model, x, make_goal(x, 0), keep="closest")
    assert sent == [None, [1], None, None, None]
    assert result.success.all()
    assert torch.allclose(result.distance["linf"], torch.tensor([0.1, 0.3]))
    assert result.queries.tolist() == [2, 5]


def test_closest_keeps_the_nearest_success_and_else_the_last():
    """A pixel of four images walks 0.1, 0.3, 0.2 away; another tells where class 1 begins, for the last never."""
    distance = [0.0, 0.1, 0.3, 0.2, 0.25]
    x = torch.full((4, 1, 2, 2), 0.5)
    x[:, 0, 1, 1] = torch.tensor([0.65, 0.65, 0.75, 1.0])

    def attack(model, x, goal, rng):
        for d in distance:
            moved = x.clone()
            moved[:, 0, 0, 0] += d
            yield Iterate(moved, model(moved))

    def model(x):
        return torch.stack([x[:, 0, 1, 1], x[:, 0, 0, 0]], 1)

    result = run(attack, model, x, make_goal(x, 0), keep="closest")
    assert result.success.tolist() == [True, True, True, False]
    assert torch.allclose(result.distance["linf"], torch.tensor([0.2, 0.2, 0.3, 0.25]))
    last = run(attack, model, x, make_goal(x, 0), keep="last")
    assert torch.allclose(last.distance["linf"], torch.full((4,), 0.25))
    assert last.success.tolist() == [True, True, False, False]


class Trained(nn.Module):
    """Behaves differently in training mode: batch norm and dropout."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Linear(192, 5)
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(5, 192, generator=rng))
            self.norm.running_mean.copy_(torch.tensor([0.3, 0.5, 0.6]))

    def forward(self, x):
        return self.head(self.drop(torch.tanh(self.norm(x)).flatten(1)))


@ATTACKS
def test_a_model_in_training_is_attacked_as_in_use_and_goes_on_training(key, norm):
    model, x = Trained().eval(), images(3)
    in_use = lab.attack(key, model, x, 0, **settings_of(key, norm))
    model.train()
    model.drop.eval()  # a mixture, to be kept as it is
    before, rng_before = copy.deepcopy(model.state_dict()), global_rng()
    in_training = lab.attack(key, model, x, 0, **settings_of(key, norm))
    assert equal(in_use, in_training)
    assert (model.training, model.norm.training, model.drop.training) == (True, True, False)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.norm.num_batches_tracked == 0
    assert global_rng() == rng_before


@EVERY
def test_a_target_is_approached_and_reached(key, norm):
    model, x, y = case(n=3)
    target = (y + 1) % 10
    result = lab.attack(key, model, x, y, target=target, trace=True, **settings_of(key, norm, steps=patience(key, 4)))
    assert torch.equal(result.success, model(result.x).argmax(1) == target)
    first, last = result.frames[0], result.frames[-1]
    assert torch.allclose(first.loss, -nn.functional.cross_entropy(model(first.x), target, reduction="none"), atol=1e-6)
    if CATALOG[key].joint:
        assert last.margin.sum() < first.margin.sum()
    else:
        assert (last.loss > first.loss).all()
        assert (last.margin < first.margin).all()
    if (key, norm) == ("fgsm", "l1"):
        return  # a single sparse step moves 2 of these 192 values
    wide = {"eps": {"linf": 0.5, "l2": 6.0, "l1": 60.0}.get(norm, 0.5), "steps": patience(key, 20), "pixels": 20}
    assert lab.attack(key, model, x, y, target=target, **settings_of(key, norm, **wide)).success.any()


@ATTACKS
def test_no_images_give_an_empty_result(key, norm):
    model, x, y = case()
    for trace in (False, True):
        result = lab.attack(key, model, x[:0], y[:0], trace=trace, **settings_of(key, norm))
        assert result.x.shape == (0, 3, 8, 8)
        assert result.x.dtype == x.dtype
        assert result.success.dtype == torch.bool
        for value in (result.success, result.queries, result.backwards, result.predictions, result.confidence):
            assert value.shape == (0,)
        assert {k: v.shape for k, v in result.distance.items()} == dict.fromkeys(("linf", "l2", "l1", "l0"), (0,))
    assert len(lab.attack(key, model, x[:0], [], **settings_of(key, norm)).x) == 0


@pytest.mark.parametrize(
    ("key", "steps", "passes"), [("fgsm", None, 1), ("bim", 1, 1), ("bim", 7, 7), ("mi_fgsm", 3, 3)]
)
@pytest.mark.parametrize("trace", [False, True])
def test_passes_are_counted_exactly(key, steps, passes, trace):
    model, x, y = case()
    witness = Witness(model).eval()
    result = lab.attack(key, witness, x, y, trace=trace, **settings_of(key, "linf", steps=steps))
    assert result.queries.tolist() == [passes] * 3
    assert result.backwards.tolist() == [passes] * 3
    # and the driver's own looks: at two images and at one of them again before, at all after
    assert witness.rows == 2 + 1 + 3 * passes + 3


@ATTACKS
def test_the_gradients_of_the_caller_do_not_matter(key, norm):
    """Neither whether the images want some, nor the mode in which the attack is called."""
    model, x, y = case()
    plain = lab.attack(key, model, x, y, **settings_of(key, norm))
    wanting = x.clone().requires_grad_()
    result = lab.attack(key, model, wanting, y, **settings_of(key, norm))
    assert equal(plain, result)
    assert not result.x.requires_grad
    assert wanting.grad is None
    assert wanting.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            inside = lab.attack(key, model, x.clone(), y.clone(), **settings_of(key, norm))
        assert torch.equal(inside.x, plain.x)
        assert torch.equal(inside.success, plain.success)


def test_eps_in_255ths_is_the_same_as_the_number():
    model, x, y = case()
    results = [lab.attack("bim", model, x, y, eps=e) for e in ("8/255", 8 / 255, " 8/255 ", str(8 / 255))]
    assert all(torch.equal(r.x, results[0].x) for r in results)
    assert math.isclose(results[0].distance["linf"].max().item(), 8 / 255, rel_tol=1e-5)


@over([(k, n) for k, n in CASES if has(k, "eps")])
def test_a_budget_of_nothing_returns_the_clean_image(key, norm):
    model, x, y = case()
    result = lab.attack(key, model, x, y, **settings_of(key, norm, eps=0))
    assert torch.equal(result.x, x)
    assert result.distance["l0"].tolist() == [0, 0, 0]
    assert not result.success.any()


@pytest.mark.parametrize("limit", [2, 5, 8, 100])
def test_a_limited_trace_keeps_every_measure_and_few_pictures(limit):
    model, x, y = case()
    whole = lab.attack("bim", model, x, y, steps=20, trace=True)
    part = lab.attack("bim", model, x, y, steps=20, trace=limit)
    pictured = [f.step for f in part.frames if len(f.x)]
    assert pictured[0] == 0
    assert pictured[-1] == 20
    assert len(pictured) <= limit
    assert len(pictured) > min(limit, 21) / 3
    for few, all_ in zip(part.frames, whole.frames, strict=True):
        assert torch.equal(few.margin, all_.margin)
        assert not len(few.x) or torch.equal(few.x, all_.x)
