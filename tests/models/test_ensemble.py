"""Ensembles: fusing models of one kind, and what an attack on them reaches."""

import pytest
import torch
from torch import nn

import lab
from lab.answers import Answer
from lab.attacks.watched import Watched
from lab.defenses.preprocess import Preprocessed
from lab.experiments.defenses.attackers import Cooled
from lab.gate import Averaged, Usable
from lab.models.ensemble import Ensemble
from lab.types import Access, Goal, ModelError, ParamError
from tests.support.nets import Small, images

FUSES = pytest.mark.parametrize("fuse", ["logits", "probabilities", "loss"])


def members():
    """Three nets that differ."""
    models = [Small(3, 10).double().eval() for _ in range(3)]
    with torch.no_grad():
        for k, model in enumerate(models):
            for p in model.parameters():
                p.copy_(p.flatten().roll(k).view_as(p))
    return models


@FUSES
def test_an_ensemble_of_one_model_twice_is_that_model(fuse):
    model, x = members()[0], images(4, 3).double()
    both, goal = Ensemble([model, model], fuse), Goal(model(x).argmax(1))
    assert torch.allclose(both(x).softmax(1), model(x).softmax(1), rtol=0, atol=1e-12)
    assert torch.allclose(both.answer(x).loss(goal), goal.loss(model(x)), rtol=0, atol=1e-12)
    alone, fused = (lab.attack("bim", m, x, goal.labels, eps=0.05) for m in (model, both))
    assert torch.allclose(alone.x, fused.x, rtol=0, atol=1e-9)


def test_each_way_to_fuse_has_the_loss_of_the_paper():
    models, x = members(), images(4, 3).double()
    y = torch.tensor([1, 2, 3, 4])
    logits = torch.stack([m(x) for m in models])
    entropy = nn.functional.cross_entropy
    wanted = {
        "logits": entropy(logits.mean(0), y, reduction="none"),
        "probabilities": nn.functional.nll_loss(logits.softmax(2).mean(0).log(), y, reduction="none"),
        "loss": torch.stack([entropy(each, y, reduction="none") for each in logits]).mean(0),
    }
    for fuse, loss in wanted.items():
        answer = Ensemble(models, fuse).answer(x)
        assert torch.allclose(answer.loss(Goal(y)), loss, rtol=0, atol=1e-12), fuse
        assert torch.allclose(answer.loss(Goal(y, True)), -loss, rtol=0, atol=1e-12), fuse


@FUSES
def test_an_attack_follows_the_gradient_of_that_loss(fuse):
    models, x = members(), images(4, 3).double().requires_grad_()
    y = torch.tensor([1, 2, 3, 4])
    both = Ensemble(models, fuse)
    (g,) = torch.autograd.grad(both.answer(x).loss(Goal(y)).sum(), x)
    result = lab.attack("fgsm", both, x.detach(), y, eps=0.01)
    wanted = (x.detach() + 0.01 * g.sign()).clamp(0, 1)
    assert torch.allclose(result.x, wanted, rtol=0, atol=1e-12)


AROUND = {
    "a view of the images": lambda fused: Preprocessed(fused, lambda x: x.flip(-1)),
    "a straight-through gradient": lambda fused: Preprocessed(fused, lambda x: x.flip(-1), "bpda"),
    "the mean of several looks": lambda fused: Averaged(Preprocessed(fused, lambda x: x.flip(-1)), 2),
    "a temperature": lambda fused: Cooled(Preprocessed(fused, lambda x: x.flip(-1)), 1.0),
    "the driver's eye": lambda fused: Watched(
        Usable(Preprocessed(fused, lambda x: x.flip(-1)), torch.float64), Access.GRADIENTS, GOAL
    ),
}
GOAL = Goal(torch.tensor([1, 2, 3, 4]))


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_what_stands_around_an_ensemble_has_the_loss_that_it_fuses(around):
    """Not that of the mean logits, which is another function."""
    models, x = members(), images(4, 3).double()
    wanted = torch.stack([GOAL.loss(m(x.flip(-1))) for m in models]).mean(0)
    answer = Answer.of(around(Ensemble(models, "loss")), x)
    assert torch.allclose(answer.loss(GOAL), wanted, rtol=0, atol=1e-12)
    assert not torch.allclose(GOAL.loss(answer.logits), wanted, rtol=0, atol=1e-3)


def test_logits_are_plain_tensors_so_that_a_copy_of_them_means_the_same():
    logits = Ensemble(members(), "loss")(images(4, 3).double())
    assert type(logits) is torch.Tensor
    assert not vars(logits)
    assert torch.equal(GOAL.loss(logits.clone()), GOAL.loss(logits))


@pytest.mark.parametrize("key", ["pgd", "di_fgsm", "apgd", "lbfgs"])
def test_every_attack_on_the_loss_counts_one_gradient_a_step_of_an_ensemble_that_fuses_losses(key):
    x, y = images(4, 3).double(), torch.tensor([1, 2, 3, 4])
    settings = {"steps": 3} | ({"searches": 1} if key == "lbfgs" else {})
    fused, plain = (lab.attack(key, Ensemble(members(), fuse), x, y, **settings) for fuse in ("loss", "logits"))
    assert torch.equal(fused.backwards[:1], plain.backwards[:1])


def test_the_members_are_not_changed_not_even_their_mode():
    models = members()
    models[1].train()
    lab.attack("bim", Ensemble(models), images(2, 3).double(), torch.tensor([0, 1]), steps=2)
    assert [m.training for m in models] == [False, True, False]


def test_members_of_other_sizes_get_the_image_in_theirs():
    models = [lab.load_model(f"imagenet/efficientnet_lite{k}") for k in (0, 1)]
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    larger = nn.functional.interpolate(x, (240, 240), mode="bilinear", antialias=True)
    with torch.no_grad():
        assert torch.allclose(Ensemble(models)(x), (models[0](x) + models[1](larger)) / 2, atol=1e-5)


def test_what_cannot_be_fused_is_refused_in_a_sentence():
    with pytest.raises(ModelError, match="at least one model"):
        Ensemble([])
    with pytest.raises(ParamError, match="fuse must be one of logits, probabilities, loss, not 'votes'"):
        Ensemble(members(), "votes")
    both = Ensemble([Small(3, 10).eval(), Small(3, 2).eval()])
    with pytest.raises(ModelError, match=r"the same classes, but have \[2, 10\]"):
        lab.attack("fgsm", both, images(2, 3), torch.tensor([0, 1]))
