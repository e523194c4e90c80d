"""What a node is trained for: a loss, its miner and the distance under which both compare."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from heml.distances import Metric
from heml.errors import HemlError
from heml.learning.pml_distances import training_distance
from heml.losses import MINERS, Shape, catalogue
from heml.params import Train


@dataclass(frozen=True)
class Objective:
    """A loss with its miner, and the distance under which the embeddings it makes are to be compared."""

    loss: nn.Module
    miner: nn.Module | None
    distance: Metric

    def __call__(self, embeddings: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Loss of a batch, (B, D) and (B,), and the number of triplets or pairs mined (−1 without a miner)."""
        if self.miner is None:
            return self.loss(embeddings, labels), -1
        mined = self.miner(embeddings, labels)
        return self.loss(embeddings, labels, mined), max(len(part) for part in mined)

    def parameters(self) -> list[nn.Parameter]:
        """The loss's own weights: proxies, class centres, β; none for most."""
        return list(self.loss.parameters())


def objective(settings: Train, classes: int) -> Objective:
    """The loss and miner that the settings name, for labels 0 to `classes` − 1.

    Raises:
        HemlError: a distance or miner that the loss cannot work with.
    """
    entry = catalogue()[settings.loss]
    distance = settings.distance or entry.distances[0]
    allowed = entry.distances
    if distance not in allowed and not ("l<p>" in allowed and distance.startswith("l")):
        raise HemlError(
            f"train.distance {distance!r} does not go with loss {settings.loss!r}; it compares under"
            f" {', '.join(allowed)}"
        )
    name = settings.miner or entry.miners[0]
    if name not in entry.miners:
        raise HemlError(
            f"train.miner {name!r} does not go with loss {settings.loss!r}; choose from {', '.join(entry.miners)}"
        )
    options = settings.options
    loss = entry.build(options, training_distance(distance), Shape(classes, settings.embedding_dim))
    miner = MINERS[name](options.get("margin", 0.1), training_distance(distance))
    return Objective(loss, miner, distance)
