"""The tables of Szegedy et al. 2013 (tables 1 to 4), measured with the lab's own L-BFGS.

Eight small nets are trained on the official MNIST files (some minutes on one thread), and attacked on test images.
`lab.experiments.transfer.szegedy` reads the tables for the pages.

Each net is attacked on the first test images that it classifies right, each towards a wrong class drawn at random. All
nets are shown these images, so that a net's errors hold those that it makes anyway; the row of clean images tells how
many these are. Clean and noisy images are the first of the test file. Whatever is added to an image, the sum is clipped
to [0,1], so that noise changes the black background by less than its standard deviation.

Training is stochastic gradient descent, long enough for the training error that the paper reports (6.7% for FC10(1e-4),
none for nets with hidden layers). Two choices matter: after half as many epochs FC100-100-10 is as hard to fool as
FC10(1e-4); and trained by Adam, it gets one image in ten wrong under Gaussian noise of 0.1.

Deviation: an amplified perturbation has a root mean square of 0.1, where the formula in print divides by its length.
AE400-10, the sparse autoencoder, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.attacks import attack
from lab.data import load_data
from lab.experiments.papers.experiment import Bench, Details, Experiment, Figure
from lab.experiments.transfer.szegedy import CLEAN, NOISE, REPORTED, Errors, Net, Tables
from lab.images import Images
from lab.predict import classes_of
from lab.training.fit import accuracy, fit

N, SEED = 300, 0
STEPS, SEARCHES = 60, 8
FLAT: Mapping[str, Any] = {"epochs": 20, "lr": 0.1}
DEEP: Mapping[str, Any] = {"epochs": 40, "lr": 0.5}
"""Training of nets without and with hidden layers."""
HIDDEN = (1e-5, 1e-5, 1e-6)
"""Weight decay of the layers of a net with two hidden layers."""
NETS: tuple[tuple[str, list[int], tuple[float, ...]], ...] = (
    ("FC10(1e-4)", [10], (1e-4,)),
    ("FC10(1e-2)", [10], (1e-2,)),
    ("FC10(1)", [10], (1.0,)),
    ("FC100-100-10", [100, 100, 10], HIDDEN),
    ("FC200-200-10", [200, 200, 10], HIDDEN),
)
"""Names, widths and weight decays of the nets that see all training images."""
HALVES = {"FC100-100-10": [100, 100, 10], "FC123-456-10": [123, 456, 10], "FC100-100-10'": [100, 100, 10]}
"""Names and widths of the nets that see one half of the training images, with a dash those that see the other."""


@dataclass(frozen=True)
class Decayed:
    """Cross-entropy plus, for each layer, its weight decay times the sum of its squared weights per unit.

    Source: Szegedy et al. 2013, section 4.2.
    """

    decay: tuple[float, ...]

    def __call__(self, net: nn.Module, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """The mean cross-entropy and the penalty."""
        layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
        pairs = zip(self.decay, layers, strict=True)
        penalty = torch.stack([d * m.weight.square().sum() / m.out_features for d, m in pairs]).sum()
        return F.cross_entropy(net(x), y) + penalty


@dataclass(frozen=True)
class Attacked:
    """Test images before and after the attack on one net."""

    clean: Tensor
    x: Tensor
    y: Tensor
    success: Tensor

    @property
    def size(self) -> Tensor:
        """Root mean square change of a pixel [N]."""
        return (self.x - self.clean).flatten(1).square().mean(1).sqrt()

    def amplified(self, rms: float = 0.1) -> Tensor:
        """The images with their perturbation brought to another size, clipped to [0,1]."""
        return (self.clean + (self.x - self.clean) * (rms / self.size).view(-1, 1, 1, 1)).clamp(0, 1)


def trained(widths: Sequence[int], decay: tuple[float, ...], data: Images, seed: int) -> nn.Module:
    """A net of sigmoid layers, fitted to the images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, widths[0])]
        for before, after in pairwise(widths):
            layers += [nn.Sigmoid(), nn.Linear(before, after)]
    net = nn.Sequential(*layers)
    settings = DEEP if len(widths) > 1 else FLAT
    for _ in fit(net, data, Decayed(decay), device=torch.device("cpu"), optimiser="sgd", seed=seed, **settings):
        pass
    return net


def attacked(net: nn.Module, test: Images) -> Attacked:
    """L-BFGS on the first images that the net classifies right."""
    right = (classes_of(net, test.x) == test.y).nonzero().flatten()[:N]
    x, y = test.x[right], test.y[right]
    rng = torch.Generator().manual_seed(SEED)
    target = (y + torch.randint(1, 10, y.shape, generator=rng)) % 10
    result = attack("lbfgs", net, x, y, target=target, steps=STEPS, searches=SEARCHES)
    return Attacked(x, result.x, y, result.success)


def percent(share: float) -> float:
    """A share in percent, as it is stored."""
    return round(100 * share, 2)


def noisy(x: Tensor, sigma: float) -> Tensor:
    """Images plus Gaussian noise, clipped to [0,1]."""
    return (x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(SEED))).clamp(0, 1)


def errors(nets: Mapping[str, nn.Module], images: Mapping[str, tuple[Tensor, Tensor]]) -> Errors:
    """The error of every net on every row's images and classes."""
    cells = tuple(tuple(percent(1 - accuracy(net, x, y)) for net in nets.values()) for x, y in images.values())
    return Errors(tuple(images), tuple(nets), cells)


def plain(test: Images, sigmas: Sequence[float]) -> dict[str, tuple[Tensor, Tensor]]:
    """The rows that no attack made."""
    x, y = test.x[:N], test.y[:N]
    return {CLEAN: (x, y)} | {NOISE[sigma]: (noisy(x, sigma), y) for sigma in sigmas}


def tables(bench: Bench) -> Tables:
    """Trains, attacks and counts."""
    train, test = load_data("mnist", "official_train"), load_data("mnist", "official_test")
    if bench.quick:
        train = train.rows(slice(0, 6000))
    progress = bench.progress
    nets = {}
    for k, (name, widths, decay) in enumerate(NETS):
        progress.tell(k / 16, f"training {name}")
        nets[name] = trained(widths, decay, train, SEED + k)
    made = {}
    for k, (name, net) in enumerate(nets.items()):
        progress.tell((5 + k) / 16, f"attacking {name}")
        made[name] = attacked(net, test)
    p1, p2 = train.rows(slice(0, None, 2)), train.rows(slice(1, None, 2))
    halves = {}
    for k, (name, widths) in enumerate(HALVES.items()):
        part = p2 if name.endswith("'") else p1
        progress.tell((10 + k) / 16, f"training {name} on one half")
        halves[name] = trained(widths, HIDDEN, part, SEED + 5 + k)
    crossed = {}
    for k, (name, net) in enumerate(halves.items()):
        progress.tell((13 + k) / 16, f"attacking {name}")
        crossed[name] = attacked(net, test)
    return Tables(
        nets=tuple(
            Net(
                name,
                train_error=percent(1 - accuracy(net, train.x, train.y)),
                test_error=percent(1 - accuracy(net, test.x, test.y)),
                distortion=round(made[name].size[made[name].success].mean().item(), 4),
                success=percent(made[name].success.double().mean().item()),
            )
            for name, net in nets.items()
        ),
        transfer=errors(nets, {name: (a.x, a.y) for name, a in made.items()} | plain(test, [0.1, 0.3])),
        halves=errors(halves, {name: (a.x, a.y) for name, a in crossed.items()} | plain(test, [0.1])),
        amplified=errors(halves, {name: (a.amplified(), a.y) for name, a in crossed.items()} | plain(test, [0.1])),
    )


def measure(bench: Bench) -> Iterator[Figure | Details]:
    """The tables, each cell as a figure beside the paper's, and as a whole."""
    measured = tables(bench)
    reported = {net.name: net for net in REPORTED.nets}
    for net in measured.nets:
        paper = reported.get(net.name)
        for name in ("train_error", "test_error", "distortion"):
            what = f"{net.name}: {name.replace('_', ' ')}"
            yield Figure(what, getattr(net, name), reported=None if paper is None else getattr(paper, name))
    for title in ("transfer", "halves", "amplified"):
        table, paper = getattr(measured, title), getattr(REPORTED, title)
        for row, cells in zip(table.rows, table.percent, strict=True):
            for column, cell in zip(table.columns, cells, strict=True):
                known = row in paper.rows and column in paper.columns
                what = f"{title}, made for {row}, shown to {column}: error in percent"
                yield Figure(what, cell, reported=paper.at(row, column) if known else None)
    epochs = (FLAT["epochs"], DEEP["epochs"])
    yield Details({"tables": asdict(measured), "n": N, "epochs": epochs, "steps": STEPS, "searches": SEARCHES})


OFFICIAL = (("mnist", "official_train"), ("mnist", "official_test"))
EXPERIMENTS = (
    Experiment(
        "szegedy",
        "Errors of eight nets on each other's adversarial images",
        "Szegedy et al. 2013, tables 1 to 4",
        measure,
        (),
        OFFICIAL,
    ),
)
