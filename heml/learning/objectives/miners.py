"""Miners by name: which triplets or pairs of a batch a loss is computed on."""

from __future__ import annotations

from collections.abc import Callable

from pytorch_metric_learning import miners
from torch import nn

from heml.distances import Distance
from heml.learning.objectives.pml_distances import training_distance

MINERS: dict[str, Callable[[float, Distance], nn.Module | None]] = {
    # every triplet that violates the margin; those with the negative beyond the positive; those with it nearer
    "all": lambda margin, d: miners.TripletMarginMiner(margin, "all", distance=training_distance(d)),
    "semihard": lambda margin, d: miners.TripletMarginMiner(margin, "semihard", distance=training_distance(d)),
    "hard": lambda margin, d: miners.TripletMarginMiner(margin, "hard", distance=training_distance(d)),
    # the farthest positive and the nearest negative of every anchor (Hermans et al. 2017)
    "batch_hard": lambda margin, d: miners.BatchHardMiner(distance=training_distance(d)),
    # negatives drawn evenly over distances on the sphere (Wu et al. 2017)
    "distance_weighted": lambda margin, d: miners.DistanceWeightedMiner(),
    # pairs harder than the hardest of the other kind, less 0.1 (Wang et al. 2019)
    "multi_similarity": lambda margin, d: miners.MultiSimilarityMiner(),
    # triplets whose angle at the negative is above 20 degrees (Wang et al. 2017)
    "angular": lambda margin, d: miners.AngularMiner(),
    "none": lambda margin, d: None,
}
"""Name → miner, from the margin and the distance of the loss."""
