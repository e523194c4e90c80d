"""Cross-entropy of each positive against all negatives (Sohn, NeurIPS 2016; Chen et al., ICML 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.NTXentLoss(options["temperature"])


LOSS = Loss({"temperature": 0.07}, ("cosine",), ("none",), build)
