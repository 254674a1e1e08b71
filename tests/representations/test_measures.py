"""Looking into networks: stages, features, directions, attribution, operator norms and the embedding."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lab
from lab.experiments.attack.request import Request
from lab.experiments.attack.run import run_attack
from lab.experiments.representations import activations as act
from lab.experiments.representations.attribution import METHODS, attribution
from lab.experiments.representations.directions import Space
from lab.experiments.representations.embedding import embed
from lab.experiments.representations.follow import STEPS, follow
from lab.experiments.representations.lipschitz import bound, instability, operator_norm, operator_norms
from lab.experiments.representations.representation import Representation
from lab.models import imagenet
from lab.models.torchvision import torchvision
from lab.progress import Cancelled, Progress
from lab.types import DataError, ModelError
from tests.support.nets import images


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(x + self.norm(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), Block())
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return 2 * self.head(self.features(x).mean((2, 3)))


def net(seed=0):
    torch.manual_seed(seed)
    return Net().eval()


def test_stages_are_the_parts_that_compute_in_the_order_of_the_calls():
    found = act.layers(net(), images(1, 3))
    assert [(s.name, s.kind, s.shape) for s in found] == [
        ("features.0", "Conv2d", (4, 3, 3)),
        ("features.1", "ReLU", (4, 3, 3)),
        ("features.2", "Block", (4, 3, 3)),
        ("head", "Linear", (10,)),
        ("logits", "Net", (10,)),
    ]
    assert [s.is_map for s in found] == [True, True, True, False, False]


@pytest.mark.parametrize("key", ["mnist/cnn", "mnist/capsnet", "mnist/rbf", "imagenet/efficientnet_lite0"])
def test_every_kind_of_net_has_stages_and_ends_in_its_logits(key):
    model = lab.load_model(key)
    x = torch.rand(1, *model.card.input_shape, generator=torch.Generator().manual_seed(0))
    last = act.layers(model, x)[-1]
    assert last.shape == (len(model.card.classes),)
    with torch.no_grad():
        assert torch.allclose(act.activations(model, x, [last.name])[last.name], model(x), atol=1e-5)


def test_activations_are_what_the_stages_answer_and_a_wrong_name_is_told():
    model, x = net(), images(5, 3)
    found = act.activations(model, x, ["features.1", "logits"])
    with torch.no_grad():
        assert torch.allclose(found["features.1"], model.features[1](model.features[0](x)))
        assert torch.allclose(found["logits"], model(x))
    with pytest.raises(ModelError, match=r"no stage 'features\.9'"):
        act.activations(model, x, ["features.9"])
    with pytest.raises(ModelError, match="only a network can be looked into"):
        act.layers(model.forward, x)


def test_nothing_is_left_behind_on_the_model_and_threads_do_not_mix():
    model, sets = net(), [images(3, 3) * k / 8 for k in range(1, 9)]
    before = {n: sorted(vars(m)) for n, m in model.named_modules()}
    alone = [act.activations(model, x, ["features.2"])["features.2"] for x in sets]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: act.activations(model, x, ["features.2"])["features.2"], sets))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    for method in METHODS:
        attribution(model, sets[0][:1], 1, method)
    operator_norms(model, sets[0])
    assert before == {n: sorted(vars(m)) for n, m in model.named_modules()}
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_the_depth_profile_measures_relative_distances():
    model, clean = net(), images(1, 3)
    attacked = (clean + 0.05).clamp(0, 1)
    found = act.depth(model, clean, attacked)
    assert [s.name for s in found.layers] == [s.name for s in act.layers(model, clean)]
    assert found.at_input == pytest.approx(float((attacked - clean).norm() / clean.norm()), rel=1e-6)
    for k, layer in enumerate(found.layers):
        a, b = (act.activations(model, x, [layer.name])[layer.name].flatten().double() for x in (clean, attacked))
        assert found.attack[k].item() == pytest.approx(float((b - a).norm() / a.norm()), rel=1e-4)
        assert found.attack_cosine[k].item() == pytest.approx(float(F.cosine_similarity(a, b, dim=0)), abs=1e-6)
    assert (found.noise > 0).all()
    assert (found.noise_cosine <= 1).all()


def test_an_attack_moves_the_last_features_farther_than_noise_of_the_same_length():
    model = lab.load_model("mnist/cnn")
    data = lab.load_data("mnist")
    result = lab.attack("pgd", model, data.x[:1], data.y[:1], eps=0.2)
    found = act.depth(model, data.x[:1], result.x)
    assert found.attack[-1] > 2 * found.noise[-1]
    assert found.attack_cosine[-1] < found.noise_cosine[-1]


def test_a_unit_shows_the_images_that_excite_it_most_and_how_pure_they_are():
    labels = torch.arange(40) % 4
    features = torch.stack([(labels == 2).float() + torch.arange(40) / 1000, torch.arange(40.0), torch.zeros(40)], 1)
    space = Space(features, labels)
    assert space.units == 3
    assert set(labels[space.top(0)].tolist()) == {2}
    assert space.purity(0) == 1
    assert space.top(1).tolist() == list(range(39, 31, -1))
    assert space.purity(1) == 0.25
    assert space.top(torch.tensor([0.0, -1.0, 0.0]), 3).tolist() == [0, 1, 2]
    units, directions = space.purities()
    assert units.tolist() == [1.0, 0.25]  # the third unit is never active
    assert directions.shape == (100,)
    assert torch.allclose(space.random(5).norm(dim=1), torch.ones(5))
    with pytest.raises(DataError, match="at least 8 images"):
        Space(torch.zeros(3, 5), torch.zeros(3))


def test_purity_counts_the_commonest_label():
    """Of eight images that excite a unit, five are of one class, two of another, one of a third."""
    labels = torch.tensor([7, 7, 7, 7, 7, 4, 4, 1, 0, 0])
    space = Space(torch.arange(10, 0, -1.0).unsqueeze(1), labels)
    assert space.purity(0) == 5 / 8
    assert space.purities()[0].tolist() == [5 / 8]


def test_blind_draws_agree_as_often_as_chance_says():
    assert Space(torch.zeros(40, 2), torch.zeros(40)).chance() == 1
    assert Space(torch.zeros(40, 2), torch.arange(40)).chance() == 1 / 8
    # of two images the second is of the first's class with probability 3/7; otherwise half of the two agree
    assert Space(torch.zeros(8, 2), torch.arange(8) // 4).chance(2) == pytest.approx(3 / 7 + 4 / 7 / 2, abs=0.02)


def test_features_of_every_shape_become_vectors():
    x = torch.arange(24.0)
    assert torch.equal(act.pooled(x.view(1, 2, 3, 4)), torch.tensor([[5.5, 17.5]]))
    assert torch.equal(act.pooled(x.view(1, 12, 2)), torch.tensor([[11.0, 12.0]]))
    assert torch.equal(act.pooled(x.view(2, 12)), x.view(2, 12))


def test_features_of_all_stages_are_those_of_each_stage():
    model, x = net(), images(5, 3)
    found = act.features(model, x)
    assert list(found) == [s.name for s in act.layers(model, x)]
    for name, vectors in found.items():
        assert torch.allclose(vectors, act.pooled(act.activations(model, x, [name])[name]))


class Twice(nn.Module):
    """Calls one ReLU for maps and for vectors, as EfficientNet-Lite does."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 10)

    def forward(self, x):
        x = self.relu(self.conv(x)).mean((2, 3))
        return self.relu(self.fc(x))


class InPlace(nn.Module):
    """Changes what a stage answered, as DenseNet does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.relu(self.conv(x), inplace=True).mean((2, 3))


def test_a_stage_that_is_called_twice_shows_its_first_answer():
    model, x = Twice().eval(), images(2, 3)
    assert [(s.name, s.shape) for s in act.layers(model, x)] == [
        ("conv", (4, 6, 6)),
        ("relu", (4, 6, 6)),
        ("fc", (10,)),
        ("logits", (10,)),
    ]
    with torch.no_grad():
        assert torch.equal(act.activations(model, x, ["relu"])["relu"], torch.relu(model.conv(x)))
    assert act.features(model, x)["relu"].shape == (2, 4)


def test_an_answer_that_the_net_changes_in_place_is_shown_as_it_was():
    model, x = InPlace().eval(), images(2, 3)
    with torch.no_grad():
        assert torch.equal(act.activations(model, x, ["conv"])["conv"], model.conv(x))


STAGES = {
    "resnet18": {"net.conv1": (64, 112, 112), "net.layer2.1": (128, 28, 28), "net.avgpool": (512, 1, 1)},
    "mobilenet_v3_small": {"net.features.0": (16, 112, 112), "net.features.12": (576, 7, 7)},
    "densenet121": {"net.features.conv0": (64, 112, 112), "net.features.denseblock4": (1024, 7, 7)},
    "vit_b_16": {"net.conv_proj": (768, 14, 14), "net.encoder.layers.encoder_layer_11": (197, 768)},
    "swin_t": {"net.features.0.0": (96, 56, 56), "net.features.3.0": (192, 28, 28), "net.permute": (768, 7, 7)},
}
"""Some stages and their shapes, for 224 x 224 pixels; Swin's channels come last, and are moved."""


@pytest.mark.parametrize("name", STAGES)
def test_torchvision_nets_are_listed_from_their_first_stage_to_the_classes(name, monkeypatch):
    models = torchvision().models
    build = models.get_model
    monkeypatch.setattr(models, "get_model", lambda name, weights, progress: build(name))  # random weights, no download
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = imagenet.load_torchvision(name)
    before = {n: sorted(vars(m)) for n, m in model.named_modules()}
    x = images(2, 3, 224)
    found = act.layers(model, x)
    shapes = {s.name: s.shape for s in found}
    assert {n: shapes[n] for n in STAGES[name]} == STAGES[name]
    assert [n for n in shapes if n in STAGES[name]] == list(STAGES[name])
    assert found[-1].shape == (1000,)
    answers = act.features(model, x)
    with torch.no_grad():
        assert torch.allclose(answers[found[-1].name], model(x), atol=1e-5)
    assert {n: v.shape for n, v in answers.items()} == {
        s.name: (2, s.shape[-1 if len(s.shape) == 2 else 0]) for s in found
    }
    assert before == {n: sorted(vars(m)) for n, m in model.named_modules()}
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    assert not any(getattr(m, kind) for m in model.modules() for kind in hooks)


def test_the_input_gradient_of_a_linear_model_is_its_weights():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)).eval()
    found = attribution(model, images(1, 3), 4, "Input gradient")
    assert torch.allclose(found, model[1].weight[4].detach().view(3, 8, 8).sum(0), atol=1e-6)


def test_integrated_gradients_add_up_to_the_difference_from_black():
    model, x = net(), images(1, 3)
    found = attribution(model, x, 4, "Integrated gradients")
    with torch.no_grad():
        difference = model(x)[0, 4] - model(torch.zeros_like(x))[0, 4]
    assert found.sum().item() == pytest.approx(difference.item(), rel=0.05)


def test_grad_cam_is_a_map_of_the_picture_and_needs_maps():
    found = attribution(net(), images(1, 3), 4, "Grad-CAM")
    assert found.shape == (8, 8)
    assert found.min() >= 0
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).eval()
    with pytest.raises(ModelError, match="Grad-CAM needs a stage with maps"):
        attribution(flat, images(1, 3), 4, "Grad-CAM")


def matrix_of(layer, shape):
    basis = torch.eye(int(torch.tensor(shape).prod()), dtype=torch.float64).view(-1, *shape)
    return (layer(basis) - layer(torch.zeros(1, *shape, dtype=torch.float64))).flatten(1).T


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(12, 7), (12,)),
        (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 6)),
        (nn.Conv2d(2, 3, 3, stride=2), (2, 7, 7)),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), (4, 6, 6)),
        (nn.BatchNorm2d(3), (3, 4, 4)),
    ],
)
def test_the_operator_norm_is_the_largest_singular_value(layer, shape):
    layer = layer.double().eval()
    if isinstance(layer, nn.BatchNorm2d):
        layer.running_var.uniform_(0.1, 2)
    with torch.no_grad():
        exact = torch.linalg.svdvals(matrix_of(layer, shape))[0]
        found = operator_norm(layer, torch.zeros(1, *shape, dtype=torch.float64), iterations=5000, tolerance=1e-10)
    assert found == pytest.approx(float(exact), rel=1e-3)


def test_no_change_is_stretched_beyond_the_bound():
    model = lab.load_model("mnist/mlp")
    x = lab.load_data("mnist").x[:20]
    norms = operator_norms(model, x[:1])
    assert [s.kind for s in norms] == ["Linear"] * len(norms)
    with torch.no_grad():
        stretched = (model(x[1:]) - model(x[:1])).norm(dim=1) / (x[1:] - x[:1]).flatten(1).norm(dim=1)
    assert (stretched <= bound(norms)).all()


def test_the_embedding_is_the_plane_of_largest_variance_and_holds_the_path():
    model, x = net(), images(40, 3)
    path = torch.cat([x[:1], x[:1] * 0.5, x[:1] * 0.2])
    features = act.features(model, x)["features.2"]
    found = embed(features, act.features(model, path)["features.2"])
    assert found.points.shape == (40, 2)
    assert torch.allclose(found.path[0], found.points[0], atol=1e-6)
    assert 1 >= found.explained[0] >= found.explained[1] >= 0
    share = found.points.var(0) / features.double().var(0).sum()
    assert torch.allclose(share, torch.tensor(found.explained).double(), atol=1e-6)
    with pytest.raises(DataError, match="at least three"):
        embed(features[:2], features)


@pytest.fixture
def run():
    classes = tuple(str(k) for k in range(10))
    return run_attack(Request("", "", "", "bim", {"eps": 0.1, "steps": 3}), net(), images(1, 3), classes)


def test_a_profile_is_recorded_stage_by_stage(run):
    found = act.depth(net(), run.clean, run.attacked)
    result = Representation(run, found)
    record, rows = result.record(), result.rows()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record.keys() > run.record().keys()
    assert [row["stage"] for row in rows] == [layer.name for layer in found.layers]
    assert [row["attack"] for row in rows] == found.attack.tolist()
    assert rows[0]["shape"] == "4x3x3"
    assert record["depth"][0]["shape"] == [4, 3, 3]
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_features_are_followed_from_the_clean_to_the_attacked_image(run):
    model, followed = net(), follow(net(), run)
    clean, attacked = (act.features(model, x)["head"][0] for x in (run.clean, run.attacked))
    for features in (followed.way["head"], followed.path["head"]):
        assert torch.allclose(features[0], clean, atol=1e-6)
        assert torch.allclose(features[-1], attacked, atol=1e-6)
    assert len(followed.way["head"]) == STEPS
    assert len(followed.path["head"]) == len(followed.steps) == 4  # the clean one, then three iterates
    assert followed.steps == (0, 1, 2, 3)


def test_long_work_can_be_stopped(run):
    stopped = Progress(stop=lambda: True)
    for work in (
        lambda: follow(net(), run, progress=stopped),
        lambda: instability(net(), run.clean, run.attacked, progress=stopped),
    ):
        with pytest.raises(Cancelled):
            work()


def test_the_measured_stretch_is_that_of_the_logits(run):
    moved = (net()(run.attacked) - net()(run.clean)).norm() / (run.attacked - run.clean).norm()
    assert instability(net(), run.clean, run.attacked).measured == pytest.approx(moved.item(), rel=1e-4)
