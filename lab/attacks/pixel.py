"""One-pixel attack: differential evolution over where a few pixels lie and what colours they get, by scores only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.attacks.black_box import ask, portions
from lab.attacks.spec import Spec
from lab.params import param
from lab.types import Access, Goal, Iterate, Model, Paper, Steps


@dataclass(frozen=True)
class Pixel:
    """Changes a few pixels to any colour, and finds which and to what by differential evolution.

    A candidate says where its pixels are and their colours. Every generation each candidate has one child, another one
    moved along the difference of two more, and the child takes its parent's place where it brings the image nearer to
    the goal. The random choices are the same for all images of a batch. Each candidate of each generation is one query.

    Source: Su, Vargas, Sakurai 2019, section III.
    Deviation: candidates are ranked by the margin, where the paper takes the probability of a class. Fewer candidates
        and generations than the paper's 400 and 100 unless asked for. First colours are uniform, where the paper's are
        normal around gray; a number that leaves its range is drawn anew.
    """

    pixels: int = param(1, bounds=(1, 100), help="How many pixels may change.")
    steps: int = param(50, bounds=(1, 1000), unit="generations", help="How many generations there are.")
    population: int = param(100, bounds=(4, 2000), help="Candidates in each generation; the paper has 400.")
    scale: float = param(
        0.5, bounds=(0, 2), advanced=True, help="How far a child moves along the difference of two candidates."
    )

    def __call__(self, model: Model, x: Tensor, goal: Goal, rng: torch.Generator) -> Steps:
        """Yields the clean images, then the best candidate of every generation, with its logits."""
        rows = yield Iterate(x)
        x, goal = (x, goal) if rows is None else (x[rows], goal.rows(rows))
        genes = self._draw(rng, x).expand(-1, len(x), -1, -1)
        logits, margins = self._judge(model, x, goal, genes)
        for _ in range(self.steps - 1):
            rows = yield self._best(x, genes, logits, margins)
            if rows is not None:
                x, goal = x[rows], goal.rows(rows)
                genes, logits, margins = genes[:, rows], logits[:, rows], margins[:, rows]
            a = torch.randperm(self.population, generator=rng).to(x.device)
            children = genes[a] + self.scale * (genes[a.roll(1)] - genes[a.roll(2)])
            children = torch.where((children < 0) | (children >= 1), self._draw(rng, x), children)
            answers, scores = self._judge(model, x, goal, children)
            better = scores < margins
            genes = torch.where(better[..., None, None], children, genes)
            logits, margins = torch.where(better[..., None], answers, logits), torch.minimum(scores, margins)
        yield self._best(x, genes, logits, margins)

    def _draw(self, rng: torch.Generator, x: Tensor) -> Tensor:
        """Random candidates [P,1,pixels,2+C] for all images: row, column and colour, each in [0,1)."""
        return torch.rand(self.population, 1, self.pixels, 2 + x.shape[1], generator=rng).to(x)

    def _judge(self, model: Model, x: Tensor, goal: Goal, genes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [P,N,K] and margins [P,N] of candidates [P,N,pixels,2+C]."""
        sizes = list(portions(len(genes), x))
        answers = [ask(model, paint(x, part), goal) for part in genes.split(sizes)]
        logits, margins = zip(*answers, strict=True)
        return torch.cat(logits), torch.cat(margins)

    def _best(self, x: Tensor, genes: Tensor, logits: Tensor, margins: Tensor) -> Iterate:
        """Each image with its best candidate."""
        best, rows = margins.argmin(0), torch.arange(len(x), device=x.device)
        return Iterate(paint(x, genes[best, rows][None])[0], logits[best, rows])


PAPER = Paper("One Pixel Attack for Fooling Deep Neural Networks", "Su, Vargas, Sakurai", 2019, "1710.08864")
SPEC = Spec(
    key="pixel",
    name="One pixel",
    summary="Changes one pixel, or a few, to the colours that differential evolution finds.",
    formula=r"\min_{x'} f_y(x') - \max_{k \ne y} f_k(x') \quad\text{with at most } d \text{ pixels changed}",
    papers=(PAPER,),
    make=Pixel,
    access=Access.SCORES,
    until_reached=True,
    norm="l0",
    symbols={"d": "how many pixels may change"},
)


def paint(x: Tensor, genes: Tensor) -> Tensor:
    """Images [P,N,C,H,W]: each of x [N,C,H,W] with the pixels of candidates [P,N,pixels,2+C]; later ones on top."""
    channels, height, width = x.shape[1:]
    row = (genes[..., 0] * height).long().clamp(max=height - 1)
    column = (genes[..., 1] * width).long().clamp(max=width - 1)
    painted = x.flatten(2).repeat(len(genes), 1, 1, 1)
    for k in range(genes.shape[2]):
        at = (row * width + column)[..., k, None, None].expand(-1, -1, channels, 1)
        painted.scatter_(3, at, genes[..., k, 2:, None])
    return painted.view(*painted.shape[:3], height, width)
