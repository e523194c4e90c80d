"""Pairs weighted by their own and by relative similarities (Wang et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.MultiSimilarityLoss(options["alpha"], options["beta"], options["base"])


LOSS = Loss({"alpha": 2.0, "beta": 50.0, "base": 0.5}, ("cosine",), ("multi_similarity", "none"), build)
