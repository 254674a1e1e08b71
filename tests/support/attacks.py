"""The attacks of the catalogue as cases of tests, quick settings for them, and what an attack could disturb."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from lab import devices
from lab.attacks import CATALOG
from lab.types import Access
from tests.support.nets import Small, images

EPS = {"linf": 0.1, "l2": 1.0, "l1": 6.0}


def norms_of(spec):
    return next((p.choices for p in spec.params if p.name == "norm"), (None,))


def settings_of(key, norm, **more):
    """Few steps, a budget at which some images fall and some stand."""
    names = {p.name for p in CATALOG[key].params}
    wanted = {"eps": EPS.get(norm, 0.1), "steps": 4, "norm": norm, "samples": 20, "population": 20, "version": "quick"}
    wanted |= more
    return {k: v for k, v in wanted.items() if k in names and v is not None}


def patience(key, steps):
    """How many steps to give an attack where a gradient attack takes so many: more, the fewer queries a step has."""
    if CATALOG[key].access is Access.GRADIENTS:
        return steps
    return 5 * steps if {"samples", "population"} & {p.name for p in CATALOG[key].params} else 40 * steps


def has(key, name):
    """Whether an attack has a parameter of this name."""
    return name in {p.name for p in CATALOG[key].params}


CASES = [(key, norm) for key, spec in CATALOG.items() for norm in norms_of(spec)]
FIRST = [(key, norms_of(spec)[0]) for key, spec in CATALOG.items()]


def over(cases):
    """Parametrises a test with attacks and norms."""
    return pytest.mark.parametrize(("key", "norm"), cases)


EVERY = over(CASES)
"""Parametrises the tests of promises that an attack keeps in each of its norms."""
ATTACKS = over(FIRST)
"""Parametrises the tests of promises of the driver, which does the same in every norm."""

GRAY = (1, 2, 1)
COLOUR = (3, 10, 3)
SHAPED = pytest.mark.parametrize(("channels", "classes", "n"), [GRAY, COLOUR], ids=["gray", "colour"])
"""Between them each number of channels, classes and images that tells apart what an attack could mix up."""


def case(channels=3, classes=10, n=3, dtype=torch.float32):
    """A model whose parameters want gradients and have some, images, and the classes it sees in them."""
    model = Small(channels, classes).to(dtype).eval()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model.register_buffer("extra", torch.arange(3.0))
    x = images(n, channels).to(dtype)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def in_chunks_of(monkeypatch, rows, model, x):
    """Makes the memory so small that this many images fit at once."""
    monkeypatch.setattr(devices, "SMALL", 1)
    monkeypatch.setattr(devices, "CPU_BUDGET", rows * devices._activation_bytes(model, model, x[:1]))
    assert next(s.stop - s.start for s in devices.chunks(model, x)) == rows


def state_of(model):
    """Everything about a model that an attack could disturb, as comparable values."""
    state = {}
    for name, module in model.named_modules():
        hooks = [len(v) for k, v in sorted(vars(module).items()) if k.endswith("_hooks")]
        state[f"{name} (module)"] = (module.training, hooks, sorted(vars(module)))
    for name, p in model.named_parameters():
        state[name] = (p.requires_grad, p.detach().numpy().tobytes(), p.grad.numpy().tobytes(), p._backward_hooks)
    for name, b in model.named_buffers():
        state[f"{name} (buffer)"] = (b.requires_grad, b.numpy().tobytes())
    return state


def global_rng():
    """The state of the random numbers that all the world shares."""
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), (kind, keys.tobytes(), *rest), random.getstate()


def equal(a, b):
    """Whether two results are the same, bit for bit."""
    names = ("x", "success", "queries", "backwards", "predictions", "confidence")
    same = all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)
    return same and all(torch.equal(a.distance[k], b.distance[k]) for k in ("linf", "l2", "l1", "l0"))


def close(a, b):
    """Asserts that two results in 64 bits differ by rounding only."""
    assert torch.allclose(a.x, b.x, rtol=0, atol=1e-9)
    for name in ("success", "queries", "backwards", "predictions"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.allclose(a.confidence, b.confidence, rtol=0, atol=1e-9)
    for k in ("linf", "l2"):
        assert torch.allclose(a.distance[k], b.distance[k], rtol=0, atol=1e-9)
    assert torch.equal(a.distance["l0"], b.distance["l0"])


def length(d, norm):
    """The length of each row in a norm."""
    d = d.flatten(1)
    return d.abs().amax(1) if norm == "linf" else d.abs().sum(1) if norm == "l1" else d.square().sum(1).sqrt()
