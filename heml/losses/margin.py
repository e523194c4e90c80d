"""max(0, d(a, p) − β + margin) + max(0, β − d(a, n) + margin) with a learned β per class (Wu et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import ANY, TRIPLET_MINERS, Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses

    return losses.MarginLoss(
        options["margin"],
        options["nu"],
        options["beta"],
        learn_beta=True,
        num_classes=shape.classes,
        distance=distance,
    )


LOSS = Loss(
    {"margin": 0.2, "beta": 1.2, "nu": 0.0},
    ANY,
    ("distance_weighted", *(miner for miner in TRIPLET_MINERS if miner != "distance_weighted")),
    build,
)
