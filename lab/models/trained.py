"""The nets that people trained: kept in memory, bounded, found by a key that nobody can guess."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import OrderedDict
from dataclasses import replace
from threading import Lock

from torch import nn

from lab.models.cards import Card, Classifier, ModelSpec

MOST_OWN = 32
"""Nets that people trained and that are kept; the oldest is let go for a new one."""

_own: OrderedDict[str, ModelSpec] = OrderedDict()
_own_lock = Lock()


def add_own(card: Card, net: nn.Module) -> str:
    """Keeps a copy of a net that is not shipped, until MOST_OWN newer ones are kept.

    It is found by its key alone and not listed in CATALOG: whoever does not have the key does not see it.

    Args:
        card: what is known of it; its key is replaced.
        net: images [N,C,H,W] in [0,1] -> logits; it may be trained on, the kept one stays as it is now.

    Returns:
        The key: the task of the card, and a digest of weights and card.
    """
    kept = copy.deepcopy(net).cpu()
    digest = hashlib.sha256(json.dumps([card.name, card.details], sort_keys=True, default=str).encode())
    for name, value in kept.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    key = f"{card.task}/own-{digest.hexdigest()[:16]}"
    known = replace(card, key=key)
    spec = ModelSpec(key, lambda: known, lambda: Classifier(copy.deepcopy(kept), known))
    with _own_lock:
        _own[key] = spec
        _own.move_to_end(key)
        while len(_own) > MOST_OWN:
            _own.popitem(last=False)
    return key


def is_own(key: str) -> bool:
    """Whether a key is that of a net that somebody trained and that is still kept."""
    with _own_lock:
        return key in _own


def trained_model(key: str) -> ModelSpec | None:
    """The entry of a net that somebody trained; None where there is none of that key, or it was let go."""
    with _own_lock:
        return _own.get(key)
