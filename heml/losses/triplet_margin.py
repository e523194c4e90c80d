"""max(0, d(a, p) − d(a, n) + margin), averaged where positive (Schroff et al. 2015, unsquared)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import ANY, TRIPLET_MINERS, Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.TripletMarginLoss(options["margin"], distance=distance)


LOSS = Loss({"margin": 0.1}, ANY, TRIPLET_MINERS, build)
