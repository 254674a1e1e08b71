"""The lab's attacks equal the textbook's loops and foolbox's."""

import warnings

import pytest
import torch

import lab
from lab.attacks.norms import NORMS
from tests import reference
from tests.support.nets import Small, images

EPS = {"linf": 0.06, "l2": 0.7}
ALPHA = {"linf": 0.017, "l2": 0.21}
STEPS = 7

both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])
both_goals = pytest.mark.parametrize("targeted", [False, True])


def case(targeted, channels=3):
    """A model, images, labels, and the goal's classes."""
    model, x = Small(channels), images(5, channels)
    # some pixels near the ends of the range, so that clipping to it matters
    x[:, :, :2] *= 0.05
    x[:, :, -2:] = 1 - x[:, :, -2:] * 0.05
    y = model(x).argmax(1)
    return model, x, y, (y + 3) % 10 if targeted else None


def same(ours, theirs, norm):
    """In L-infinity to the last digit, which is rounded towards the image.

    In L2 to 2e-5, because the textbook cross-entropy rounds small gradients away.
    """
    assert (ours - theirs).abs().max() <= (2**-24 if norm == "linf" else 2e-5)


@both_norms
@both_goals
def test_fgsm_is_the_textbooks(norm, targeted):
    model, x, y, target = case(targeted)
    ours = lab.attack("fgsm", model, x, y, target=target, eps=EPS[norm], norm=norm).x
    same(ours, reference.fgsm(model, x, y if target is None else target, EPS[norm], norm, targeted), norm)


@both_norms
@both_goals
@pytest.mark.parametrize("channels", [1, 3])
def test_bim_is_the_textbooks(norm, targeted, channels):
    model, x, y, target = case(targeted, channels)
    eps, alpha = EPS[norm], ALPHA[norm]
    ours = lab.attack("bim", model, x, y, target=target, eps=eps, alpha=alpha, steps=STEPS, norm=norm).x
    theirs = reference.bim(model, x, y if target is None else target, eps, alpha, STEPS, norm, targeted)
    assert not torch.equal(ours, x)
    same(ours, theirs, norm)


@both_norms
def test_automatic_steps_of_bim_add_up_to_eps(norm):
    model, x, y, _ = case(False)
    ours = lab.attack("bim", model, x, y, eps=EPS[norm], steps=STEPS, norm=norm).x
    same(ours, reference.bim(model, x, y, EPS[norm], EPS[norm] / STEPS, STEPS, norm), norm)


@both_norms
def test_automatic_steps_of_pgd_are_two_and_a_half_times_as_long(norm):
    model, x, y, _ = case(False)
    run = lab.attack("pgd", model, x, y, eps=EPS[norm], steps=STEPS, norm=norm, trace=True)
    alpha = 2.5 * EPS[norm] / STEPS
    same(run.x, reference.pgd(model, x, y, EPS[norm], alpha, STEPS, run.frames[0].x, norm), norm)


@both_norms
@both_goals
def test_pgd_is_the_textbooks_from_the_same_start(norm, targeted):
    model, x, y, target = case(targeted)
    eps, alpha = EPS[norm], ALPHA[norm]
    run = lab.attack(
        "pgd", model, x, y, target=target, eps=eps, alpha=alpha, steps=STEPS, norm=norm, seed=4, trace=True
    )
    start = run.frames[0].x
    drawn = x + eps * NORMS[norm].sample(torch.Generator().manual_seed(4), x)
    assert (start - reference.clip(drawn, x, eps, norm)).abs().max() <= 1e-6
    theirs = reference.pgd(model, x, y if target is None else target, eps, alpha, STEPS, start, norm, targeted)
    same(run.x, theirs, norm)


@both_norms
@both_goals
@pytest.mark.parametrize("mu", [0.5, 1.0])
def test_mi_fgsm_is_the_textbooks(norm, targeted, mu):
    """The lab divides by the mean of |g| instead of its sum, and its loss does not round small gradients away."""
    model, x, y, target = case(targeted)
    eps, alpha = EPS[norm], ALPHA[norm]
    ours = lab.attack("mi_fgsm", model, x, y, target=target, eps=eps, alpha=alpha, steps=STEPS, momentum=mu, norm=norm)
    theirs = reference.mi_fgsm(model, x, y if target is None else target, eps, alpha, STEPS, mu, norm, targeted)
    assert (ours.x - theirs).abs().max() <= (1e-6 if norm == "linf" else 2e-5)


@pytest.mark.parametrize(("key", "scales"), [("ni_fgsm", 1), ("si_ni_fgsm", 3)])
def test_ni_and_si_ni_fgsm_are_the_textbooks(key, scales):
    model, x, y, _ = case(False)
    given = {"scales": scales} if scales > 1 else {}
    ours = lab.attack(key, model, x, y, eps=EPS["linf"], alpha=ALPHA["linf"], steps=STEPS, momentum=0.9, **given)
    theirs = reference.ni_fgsm(model, x, y, EPS["linf"], ALPHA["linf"], STEPS, 0.9, scales)
    assert (ours.x - theirs).abs().max() <= 1e-6
    plain = lab.attack("mi_fgsm", model, x, y, eps=EPS["linf"], alpha=ALPHA["linf"], steps=STEPS, momentum=0.9)
    assert not torch.equal(ours.x, plain.x)


def test_vmi_fgsm_is_the_textbooks():
    model, x, y, _ = case(False)
    eps, alpha = EPS["linf"], ALPHA["linf"]
    ours = lab.attack("vmi_fgsm", model, x, y, eps=eps, alpha=alpha, steps=STEPS, neighbours=4, spread=1.5, seed=3)
    rng = torch.Generator().manual_seed(3)
    theirs = reference.vmi_fgsm(model, x, y, eps, alpha, STEPS, 1.0, 4, 1.5, rng)
    assert (ours.x - theirs).abs().max() <= 1e-6


@pytest.fixture(scope="module")
def foolbox():
    with warnings.catch_warnings():
        # foolbox imports scipy.ndimage.filters by its old name
        warnings.simplefilter("ignore", DeprecationWarning)
        import foolbox
    return foolbox


def theirs(foolbox, attack, model, x, criterion, eps):
    return attack.run(foolbox.PyTorchModel(model.eval(), bounds=(0, 1), device="cpu"), x, criterion, epsilon=eps)


@both_norms
def test_fgsm_is_foolboxs(foolbox, norm):
    model, x, y, _ = case(False)
    attack = {"linf": foolbox.attacks.LinfFastGradientAttack, "l2": foolbox.attacks.L2FastGradientAttack}[norm]
    expected = theirs(foolbox, attack(random_start=False), model, x, foolbox.criteria.Misclassification(y), EPS[norm])
    ours = lab.attack("fgsm", model, x, y, eps=EPS[norm], norm=norm).x
    assert (ours - expected).abs().max() <= 1e-5


@both_norms
@both_goals
def test_bim_is_foolboxs(foolbox, norm, targeted):
    model, x, y, target = case(targeted)
    criteria = foolbox.criteria
    criterion = criteria.TargetedMisclassification(target) if targeted else criteria.Misclassification(y)
    kinds = {"linf": foolbox.attacks.LinfBasicIterativeAttack, "l2": foolbox.attacks.L2BasicIterativeAttack}
    attack = kinds[norm](abs_stepsize=ALPHA[norm], steps=STEPS, random_start=False)
    expected = theirs(foolbox, attack, model, x, criterion, EPS[norm])
    ours = lab.attack("bim", model, x, y, target=target, eps=EPS[norm], alpha=ALPHA[norm], steps=STEPS, norm=norm)
    assert (ours.x - expected).abs().max() <= 1e-5
