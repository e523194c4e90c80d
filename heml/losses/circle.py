"""Similarities weighted by how far each is from its own optimum (Sun et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import PAIR_MINERS, Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.CircleLoss(options["relaxation"], options["scale"])


LOSS = Loss({"relaxation": 0.4, "scale": 80.0}, ("cosine",), PAIR_MINERS, build)
