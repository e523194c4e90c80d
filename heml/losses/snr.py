"""The triplet loss on SNR distance, with the zero-mean regulariser (Yuan et al., CVPR 2019, eq. 9 and 10).

Their contrastive form is `contrastive` with `distance: snr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import TRIPLET_MINERS, Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from pytorch_metric_learning import losses
    from pytorch_metric_learning.regularizers import ZeroMeanRegularizer

    return losses.TripletMarginLoss(
        options["margin"],
        distance=distance,
        embedding_regularizer=ZeroMeanRegularizer(),
        embedding_reg_weight=options["regularizer"],
    )


LOSS = Loss(
    {"margin": 0.1, "regularizer": 0.1},
    ("snr",),
    tuple(miner for miner in TRIPLET_MINERS if miner not in ("distance_weighted", "angular")),
    build,
)
