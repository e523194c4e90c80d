"""An angle added between a sample and the nearest of its class's centres (Deng et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.SubCenterArcFaceLoss(
        num_classes=shape.classes,
        embedding_size=shape.embedding_dim,
        margin=options["angle"],
        scale=options["scale"],
        sub_centers=int(options["sub_centers"]),
    )


LOSS = Loss({"angle": 28.6, "scale": 64.0, "sub_centers": 3.0}, ("cosine",), ("none",), build, centres=True)
