"""Losses and miners by name. A new loss is one entry of `LOSSES` and one value of `heml.params.Train.loss`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pytorch_metric_learning.distances import BaseDistance, LpDistance, SNRDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.regularizers import ZeroMeanRegularizer

from heml.distances import Distance
from heml.params import Train


@dataclass(frozen=True)
class Objective:
    """A loss with its miner, and the distance under which the embeddings it makes are to be compared."""

    loss: torch.nn.Module
    miner: torch.nn.Module | None
    distance: Distance

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Loss of a batch, (B, D) and (B,), and the number of triplets mined (−1 without a miner)."""
        if self.miner is None:
            return self.loss(embeddings, labels), -1
        triplets = self.miner(embeddings, labels)
        return self.loss(embeddings, labels, triplets), len(triplets[0])


def _triplet_margin(settings: Train) -> tuple[torch.nn.Module, BaseDistance, Distance]:
    """max(0, d(a, p) − d(a, n) + margin) on Euclidean distance (Schroff et al. 2015, unsquared)."""
    distance = LpDistance()
    return TripletMarginLoss(settings.margin, distance=distance), distance, "euclidean"


def _snr(settings: Train) -> tuple[torch.nn.Module, BaseDistance, Distance]:
    """The same on SNR distance, with the zero-mean regulariser (Yuan et al., CVPR 2019, eq. 9 and 10)."""
    distance = SNRDistance()
    loss = TripletMarginLoss(
        settings.margin,
        distance=distance,
        embedding_regularizer=ZeroMeanRegularizer(),
        embedding_reg_weight=settings.regularizer,
    )
    return loss, distance, "snr"


LOSSES: dict[str, Callable[[Train], tuple[torch.nn.Module, BaseDistance, Distance]]] = {
    "triplet_margin": _triplet_margin,
    "snr": _snr,
}


def objective(settings: Train) -> Objective:
    """The loss and miner that the settings name."""
    loss, distance, comparison = LOSSES[settings.loss](settings)
    miner = None
    if settings.miner != "none":
        miner = TripletMarginMiner(settings.margin, type_of_triplets=settings.miner, distance=distance)
    return Objective(loss, miner, comparison)
