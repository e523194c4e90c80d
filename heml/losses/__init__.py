"""Losses, a module each: what params.yaml may say of one, and how it is made; and the miners for them.

A module's name is the loss's, and its `LOSS` says the rest. What it is made of is imported where it is made, since
params.yaml is checked against the names and options by commands that never need torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


@dataclass(frozen=True)
class Shape:
    """What losses with weights of their own must know."""

    classes: int
    embedding_dim: int


Build = Callable[[Mapping[str, float], "BaseDistance", Shape], "nn.Module"]


@dataclass(frozen=True)
class Loss:
    """What a loss is called by, and how it is made."""

    options: Mapping[str, float]
    """Their defaults."""
    distances: tuple[str, ...]
    """What it can compare under, its own first; `l<p>` stands for any Lp distance."""
    miners: tuple[str, ...]
    """What can mine for it, its default first."""
    build: Build
    """From its options, the distance and the shape."""
    centres: bool = False
    """Whether it has a centre per class, in the dimensions of the whole embedding."""


ANY = ("euclidean", "snr", "cosine", "l<p>")


def _miner(name: str, *options: object, **named: object) -> nn.Module:
    from pytorch_metric_learning import miners

    made: nn.Module = getattr(miners, name)(*options, **named)
    return made


MINERS: dict[str, Callable[[float, BaseDistance], nn.Module | None]] = {
    # every triplet that violates the margin; those with the negative beyond the positive; those with it nearer
    "all": lambda margin, d: _miner("TripletMarginMiner", margin, "all", distance=d),
    "semihard": lambda margin, d: _miner("TripletMarginMiner", margin, "semihard", distance=d),
    "hard": lambda margin, d: _miner("TripletMarginMiner", margin, "hard", distance=d),
    # the farthest positive and the nearest negative of every anchor (Hermans et al. 2017)
    "batch_hard": lambda margin, d: _miner("BatchHardMiner", distance=d),
    # negatives drawn evenly over distances on the sphere (Wu et al. 2017)
    "distance_weighted": lambda margin, d: _miner("DistanceWeightedMiner"),
    # pairs harder than the hardest of the other kind, less 0.1 (Wang et al. 2019)
    "multi_similarity": lambda margin, d: _miner("MultiSimilarityMiner"),
    # triplets whose angle at the negative is above 20 degrees (Wang et al. 2017)
    "angular": lambda margin, d: _miner("AngularMiner"),
    "none": lambda margin, d: None,
}
"""Which triplets or pairs of a batch a loss is computed on: miners by name, from the margin and the distance of the
loss."""

TRIPLET_MINERS = tuple(MINERS)
PAIR_MINERS = ("none", *(name for name in MINERS if name != "none"))


@cache
def catalogue() -> dict[str, Loss]:
    """Every loss by its name, in their order."""
    names = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    return {name: import_module(f"{__name__}.{name}").LOSS for name in names}
