"""The angle at the negative of every triplet is at most alpha, degrees (Wang et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.AngularLoss(options["alpha"])


LOSS = Loss({"alpha": 40.0}, ("euclidean",), ("none",), build)
