"""A proxy per class as the anchor of all samples (Kim et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.ProxyAnchorLoss(shape.classes, shape.embedding_dim, options["margin"], options["alpha"])


LOSS = Loss({"margin": 0.1, "alpha": 32.0}, ("cosine",), ("none",), build, centres=True)
