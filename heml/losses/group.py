"""Group Loss (Elezi et al., "The Group Loss for Deep Metric Learning", ECCV 2020): a batch decides together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heml.losses import Loss, Shape

if TYPE_CHECKING:
    from pytorch_metric_learning.distances import BaseDistance
    from torch import nn


def build(options: Mapping[str, float], distance: BaseDistance, shape: Shape) -> nn.Module:
    from heml.losses._group_loss import GroupLoss

    return GroupLoss(
        shape.classes,
        shape.embedding_dim,
        int(options["iterations"]),
        int(options["anchors"]),
        options["scale"],
        options["temperature"],
    )


LOSS = Loss(
    {"iterations": 1.0, "anchors": 2.0, "scale": 10.0, "temperature": 10.0}, ("snr",), ("none",), build, centres=True
)
