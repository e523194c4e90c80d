"""The network behind every node: a trunk, then an embedder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from heml.learning.embedders import Aim, Embedder, new_embedder
from heml.learning.trunks import channels, load_pretrained, new_trunk
from heml.params import Train


@dataclass(frozen=True)
class Architecture:
    """What a network is made of. Networks can be averaged where this and their common initialisation agree."""

    trunk: str
    embedder: str
    hidden_dim: int
    embedding_dim: int
    classes: int
    """Values of the label; only some embedders have weights for them."""
    options: tuple[tuple[str, float], ...] = ()
    """The embedder's, by name; what is left out has its default."""

    def __post_init__(self) -> None:
        # JSON knows lists alone
        object.__setattr__(self, "options", tuple((name, value) for name, value in self.options))

    @classmethod
    def of(cls, settings: Train, classes: int) -> Architecture:
        """As the settings have it."""
        options = tuple(sorted(settings.embedder_options.items()))
        return cls(settings.trunk, settings.embedder, settings.hidden_dim, settings.embedding_dim, classes, options)


class MetricNetwork(nn.Module):
    """(B, 3, h, w) prepared images → (B, D) embeddings of length 1."""

    def __init__(self, architecture: Architecture, size: tuple[int, int] = (64, 64)) -> None:
        """Args:
        size: height and width of the images, to see that the trunk can take them.

        Raises:
            HemlError: the images are too small for the trunk.
        """
        super().__init__()
        self.trunk = new_trunk(architecture.trunk)
        shape = (channels(self.trunk, *size), architecture.hidden_dim, architecture.embedding_dim, architecture.classes)
        self.embedder: Embedder = new_embedder(architecture.embedder, *shape, dict(architecture.options))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) → (B, D)."""
        embedded: torch.Tensor = self.embedder(self.trunk(x))
        return embedded

    def at_own_rate(self) -> list[tuple[list[nn.Parameter], float]]:
        """Weights that learn at another rate than the rest, and without weight decay: none."""
        return []

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim, half: bool = False) -> tuple[torch.Tensor, int]:
        """Training loss of a batch of prepared images, and the number of mined triplets.

        Args:
            half: the trunk in bfloat16.
        """
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            features = self.trunk(x)
        return self.embedder.loss(features.float(), labels, aim)


def new_network(settings: Train, classes: int, size: tuple[int, int]) -> MetricNetwork:
    """The common initialisation: the same for every node of a seed, so that averages of trained nodes mean something.

    Raises:
        HemlError: the images are too small for the trunk, or its pretrained weights are not to be had.
    """
    torch.manual_seed(settings.seed)
    network = MetricNetwork(Architecture.of(settings, classes), size)
    if settings.weights:
        load_pretrained(network.trunk, settings.trunk, settings.weights)
    return network
