"""What a network computes on its way: its stages, their features, and how far an attack moves them, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab import devices
from lab.types import TINY, Model, ModelError

TRUNK = 0.6
"""A module with more than this share of all parameters is opened into its parts."""
LOGITS = "logits"
"""The name of the network's answer as a stage, where it is not what the last stage answers."""
NOISES = 2
"""Random perturbations beside which a depth profile sets the attack's."""


@dataclass(frozen=True)
class Layer:
    """One stage of a network.

    Attributes:
        name: as in `named_modules` of the network.
        kind: its class.
        shape: of what it answers for one image: (C,H,W) for maps, (D,) for vectors, or (tokens, D).
    """

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def is_map(self) -> bool:
        """Whether it answers maps, (C,H,W)."""
        return len(self.shape) == 3

    @property
    def label(self) -> str:
        """Name, class and shape for a person."""
        return f"{self.name.removeprefix('net.')} · {self.kind} · {'×'.join(map(str, self.shape))}"


@dataclass(frozen=True)
class Depth:
    """How far features move, stage by stage; every tensor has one value per stage.

    Attributes:
        layers: the stages, in the order in which they are called.
        attack: relative L2 distance of the attacked image's features from the clean one's.
        attack_cosine: cosine similarity of the two.
        noise: mean relative L2 distance under random perturbations of the same L2 length.
        noise_cosine: the same as cosine similarity.
        at_input: relative L2 distance of the two images themselves.
    """

    layers: tuple[Layer, ...]
    attack: Tensor
    attack_cosine: Tensor
    noise: Tensor
    noise_cosine: Tensor
    at_input: float

    def record(self) -> list[dict[str, Any]]:
        """The stages in order, as JSON can hold them."""
        measured = (self.attack, self.noise, self.attack_cosine, self.noise_cosine)
        return [
            {
                "stage": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "attack": attack,
                "noise": noise,
                "attack_cosine": attack_cosine,
                "noise_cosine": noise_cosine,
            }
            for layer, attack, noise, attack_cosine, noise_cosine in zip(
                self.layers, *(values.tolist() for values in measured), strict=True
            )
        ]


def layers(model: Model, x: Tensor) -> tuple[Layer, ...]:
    """The stages of a network, in the order in which they are called for the image x [1,C,H,W].

    A stage is a module that is called and is no mere container: sequences, and whatever holds most of the parameters,
    are opened into their parts. Stages that answer no tensor are left out.

    Raises:
        ModelError: for a model that is no `nn.Module`.
    """
    found: dict[str, Layer] = {}

    def see(name: str, module: nn.Module, answer: Tensor) -> None:
        found[name] = Layer(name, type(module).__name__, tuple(answer.shape[1:]))

    _watch(model, x[:1], see)
    return tuple(found.values())


def activations(model: Model, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
    """What the named stages answer for images x [N,C,H,W], each [N,...] on the CPU; nothing else is kept.

    Raises:
        ModelError: for a stage that does not exist.
    """
    found: dict[str, list[Tensor]] = {}

    def see(name: str, module: nn.Module, answer: Tensor) -> None:
        if name in names:
            found.setdefault(name, []).append(answer.to("cpu", copy=True))  # nets may change it in place later

    for part in devices.chunks(model, x):
        _watch(model, x[part], see)
    missing = [name for name in names if name not in found]
    if missing:
        raise ModelError(f"the network has no stage '{missing[0]}': `layers` has their names")
    return {name: torch.cat(found[name]) for name in names}


def features(model: Model, x: Tensor) -> dict[str, Tensor]:
    """What every stage answers for images x [N,C,H,W], as vectors [N,D] on the CPU.

    Maps are averaged over their positions and tokens over the tokens, so that all stages of some hundred images fit
    into memory together.
    """
    found: dict[str, list[Tensor]] = {}

    def see(name: str, module: nn.Module, answer: Tensor) -> None:
        found.setdefault(name, []).append(pooled(answer).to("cpu", copy=True))

    for part in devices.chunks(model, x):
        _watch(model, x[part], see)
    return {name: torch.cat(answers) for name, answers in found.items()}


def pooled(answer: Tensor) -> Tensor:
    """What a stage answers [N,...] as vectors [N,D]: maps averaged over positions, tokens over the tokens."""
    if answer.dim() == 4:
        return answer.mean((2, 3))
    return answer.mean(1) if answer.dim() == 3 else answer


def depth(model: Model, clean: Tensor, attacked: Tensor, *, seed: int = 0) -> Depth:
    """How far features move at each stage, under an attack and under random noise of the same length.

    One forward pass of NOISES + 2 images; the features are measured as they pass and not kept.

    Args:
        model: a network.
        clean: one image [1,C,H,W].
        attacked: the same image, attacked.
        seed: of the noise; it is Gaussian, of the same L2 length as the attack, not clipped.

    Source: Szegedy et al. 2013, section 4.3 (instability by layers), measured instead of bounded.
    """
    delta = attacked - clean
    noise = torch.randn((NOISES, *clean.shape[1:]), generator=torch.Generator().manual_seed(seed)).to(clean)
    noise = noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * delta.norm()
    found: dict[str, tuple[Layer, Tensor, Tensor]] = {}

    def see(name: str, module: nn.Module, answer: Tensor) -> None:
        layer = Layer(name, type(module).__name__, tuple(answer.shape[1:]))
        found[name] = (layer, *_compare(answer.flatten(1)))

    _watch(model, torch.cat([clean, attacked, clean + noise]), see)
    far = torch.stack([distance for _, distance, _ in found.values()])
    alike = torch.stack([cosine for _, _, cosine in found.values()])
    return Depth(
        layers=tuple(layer for layer, _, _ in found.values()),
        attack=far[:, 0],
        attack_cosine=alike[:, 0],
        noise=far[:, 1:].mean(1),
        noise_cosine=alike[:, 1:].mean(1),
        at_input=float(delta.norm() / clean.norm().clamp(min=TINY)),
    )


def _compare(features: Tensor) -> tuple[Tensor, Tensor]:
    """Relative L2 distance and cosine similarity of every other row to the first, on the CPU."""
    clean, others = features[:1], features[1:]
    lengths = torch.linalg.vector_norm(features, dim=1).double()
    distance = torch.linalg.vector_norm(others - clean, dim=1).double() / lengths[0].clamp(min=TINY)
    cosine = (others @ clean[0]).double() / (lengths[1:] * lengths[0]).clamp(min=TINY)
    return distance.cpu(), cosine.clamp(-1, 1).cpu()


def _watch(model: Model, x: Tensor, see: Callable[[str, nn.Module, Tensor], None]) -> None:
    """Runs images through the network and shows each stage's answer in the order of the calls, the logits last.

    Of a stage that is called several times (EfficientNet-Lite has a single ReLU) only the first answer is shown.
    """
    net = network(model)
    called: set[str] = set()
    last: list[Tensor] = []

    def show(name: str, module: nn.Module, answer: Tensor) -> None:
        if name not in called:
            called.add(name)
            last[:] = [answer]
            see(name, module, answer)

    for name, module in stages(net).items():
        module.register_forward_hook(_showing(name, show))
    with torch.no_grad():
        logits = net(x.to(devices.of(net, x)))
    if not last or last[0] is not logits:
        see(LOGITS, net, logits)


def network(model: Model) -> nn.Module:
    """A twin of the model that may get hooks; the model itself, which others use at the same time, never does.

    Raises:
        ModelError: for a model that is no `nn.Module`.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"only a network can be looked into, not {type(model).__name__}: use an nn.Module")
    return devices.twin(model)


def _showing(
    name: str, see: Callable[[str, nn.Module, Tensor], None]
) -> Callable[[nn.Module, tuple[Tensor, ...], object], None]:
    def hook(module: nn.Module, given: tuple[Tensor, ...], answer: object) -> None:
        if isinstance(answer, Tensor) and answer.dim() > 1:
            see(name, module, _channels_first(answer))

    return hook


def _channels_first(answer: Tensor) -> Tensor:
    """Maps [N,C,H,W]; some nets (Swin) answer them as [N,H,W,C], told by the two equal sides of a square picture."""
    if answer.dim() == 4 and answer.shape[1] == answer.shape[2] != answer.shape[3]:
        return answer.permute(0, 3, 1, 2)
    return answer


def stages(net: nn.Module) -> Mapping[str, nn.Module]:
    """The modules that count as stages, by name."""
    whole = sum(p.numel() for p in net.parameters())

    def opened(module: nn.Module) -> bool:
        own = sum(p.numel() for p in module.parameters())
        return type(module) in (nn.Sequential, nn.ModuleList) or (whole > 0 and own > TRUNK * whole)

    def walk(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            if opened(child) and any(True for _ in child.children()):
                yield from walk(f"{path}.", child)
            else:
                yield path, child

    return dict(walk("", net))
