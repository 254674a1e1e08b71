"""Transfer between ImageNet nets, and the substitute attack on nets of MNIST."""

from __future__ import annotations

from collections.abc import Iterator

from lab.data import load_data
from lab.experiments.blackbox.curves import prepare, scored
from lab.experiments.blackbox.oracle import labels_of
from lab.experiments.blackbox.substitute import Substitute, balanced, copy_oracle
from lab.experiments.papers.experiment import Bench, Experiment, Figure
from lab.experiments.transfer.matrix import transfer
from lab.models.catalog import find_model, load_model

LITE = tuple(f"imagenet/efficientnet_lite{k}" for k in range(3))
STEPS = 10
LONG = Substitute(optimiser="adam", lr=0.001, epochs=30)
ORACLES = {
    "mnist/softmax": Substitute(),
    "mnist/mlp": Substitute(),
    "mnist/cnn_small": Substitute(),
    "mnist/cnn": LONG,
    "mnist/cnn_pgd_at": LONG,
}
"""The models that are copied, and how."""


def momentum(bench: Bench) -> Iterator[Figure]:
    """MI-FGSM against I-FGSM between the EfficientNet-Lite nets, at 16/255, 10 steps."""
    data = load_data("photographs", card=find_model(LITE[-1]).card())
    if bench.quick:
        data = data.rows(slice(0, 6))
    for k, attack in enumerate(("bim", "mi_fgsm")):
        bench.progress.tell(k / 2, attack)
        matrix = transfer(LITE, LITE, data.x, data.y, attack, eps="16/255", steps=STEPS, seed=bench.seed)
        others = [matrix.cells[s][t].success for s in range(3) for t in range(3) if s != t]
        yield Figure(f"{attack}: success on the models never touched", sum(others) / len(others), n=matrix.n)
        for source, row in zip(matrix.sources, matrix.cells, strict=True):
            for target, cell in zip(matrix.targets, row, strict=True):
                yield Figure(f"{attack}: {source} to {target}", cell.success, cell.low, cell.high, matrix.n)


def substitute(bench: Bench) -> Iterator[Figure]:
    """150 of the official test images to begin with, 9,600 labels; judged on 1,000 others, FGSM at 0.3."""
    first, rest = balanced(load_data("mnist", "official_test"), 150)
    test = rest.rows(slice(0, 100 if bench.quick else 1000))
    for k, (key, settings) in enumerate(ORACLES.items()):
        bench.progress.tell(k / len(ORACLES), key)
        judge, oracle = prepare(labels_of(load_model(key)), test, 9600, settings.rounds, counted=False)
        rounds = list(scored(copy_oracle(oracle, first.x, 10, settings), judge))
        before, after = rounds[0].score, rounds[-1].score
        n = len(test)
        yield Figure(f"{key}: agreement at first", before.agreement, n=n)
        yield Figure(f"{key}: agreement at last", after.agreement, n=n)
        yield Figure(f"{key}: labels asked", float(oracle.queries))
        for what, value in (("FGSM through the copy fools", after.fgsm), ("noise fools", after.noise)):
            if value is not None:
                yield Figure(f"{key}: {what}", value, n=n)


EXPERIMENTS = (
    Experiment(
        "momentum",
        "Momentum and transfer between EfficientNet-Lite nets",
        "Dong et al. 2018",
        momentum,
        LITE,
        (("photographs", "test"),),
    ),
    Experiment(
        "substitute",
        "Copies of nets by their labels, and attacks through them",
        "Papernot et al. 2017",
        substitute,
        tuple(ORACLES),
        (("mnist", "official_test"),),
    ),
)
