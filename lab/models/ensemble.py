"""Several models as one, so that any attack can be made to fool all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lab.answers import Answer, Fusing
from lab.models.cards import resized
from lab.types import ModelError, ParamError

Fuse = Literal["logits", "probabilities", "loss"]


class Ensemble(Fusing, nn.Module):
    """Models of the same classes, fused with equal weights: images [N,C,H,W] in [0,1] -> logits [N,K].

    An image of another size than a member's is resized for it. The members are not changed.

    Source: Dong et al. 2018, section 3.3: fused in logits (equation 9), in predictions, or in loss.
    """

    def __init__(self, models: Sequence[nn.Module], fuse: Fuse = "logits") -> None:
        """Fuses models.

        Args:
            models: one or more, each images -> logits.
            fuse: "logits" averages the logits; "probabilities" the softmax outputs, and answers their logarithm; "loss"
                the losses: the logits are averaged, and the loss is the mean of the members'.

        Raises:
            ModelError: for no models at all.
            ParamError: for an unknown way to fuse.
        """
        super().__init__()
        if not models:
            raise ModelError("an ensemble needs at least one model")
        if fuse not in get_args(Fuse):
            raise ParamError(f"fuse must be one of {', '.join(get_args(Fuse))}, not '{fuse}'")
        self.models, self.fuse = nn.ModuleList(models), fuse
        self.training = self.models.training = False  # the members keep their own mode

    def answer(self, x: Tensor) -> Answer:
        """The fused logits [N,K]; with those of each member where losses are fused.

        Raises:
            ModelError: where the members differ in their number of classes.
        """
        each = [Answer.of(model, resized(x, model)).logits for model in self.models]
        classes = {logits.shape[1] for logits in each}
        if len(classes) > 1:
            raise ModelError(f"the models of an ensemble need the same classes, but have {sorted(classes)} of them")
        stacked = torch.stack(each)
        if self.fuse == "probabilities":
            return Answer(stacked.log_softmax(2).logsumexp(0) - torch.tensor(float(len(each))).log())
        return Answer(stacked.mean(0), tuple(each) if self.fuse == "loss" else ())
