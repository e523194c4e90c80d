"""max(0, d(pos) − pos_margin) + max(0, neg_margin − d(neg)), each averaged where positive (Hadsell et al. 2006,
unsquared)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import ANY, PAIR_MINERS, Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.ContrastiveLoss(options["pos_margin"], options["neg_margin"], distance=distance)


LOSS = Loss({"pos_margin": 0.0, "neg_margin": 1.0}, ANY, PAIR_MINERS, build)
