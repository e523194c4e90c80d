"""Trunk and embedder: the network behind every node."""

from __future__ import annotations

import torch
import torchvision
from torch import nn
from torch.nn import functional as F


class Embedder(nn.Module):
    """A multi-layer perceptron with one hidden layer, then L2 normalisation."""

    def __init__(self, features: int, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden_dim)
        self.out = nn.Linear(hidden_dim, embedding_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, features) → (B, embedding_dim), rows of length 1."""
        return F.normalize(self.out(F.relu(self.hidden(x))).float(), dim=1)  # float32 under autocast too


class MetricNetwork(nn.Module):
    """A torchvision trunk without its classifier, then the embedder."""

    def __init__(self, trunk: str, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.trunk = torchvision.models.get_model(trunk, weights=None)
        features: int = self.trunk.fc.in_features
        self.trunk.fc = nn.Identity()
        self.embedder = Embedder(features, hidden_dim, embedding_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) prepared images → (B, D) embeddings of length 1."""
        embedded: torch.Tensor = self.embedder(self.trunk(x))
        return embedded


def new_network(trunk: str, hidden_dim: int, embedding_dim: int, seed: int) -> MetricNetwork:
    """The common initialisation: the same for every node of a seed, so that averages of trained nodes mean something."""
    torch.manual_seed(seed)
    return MetricNetwork(trunk, hidden_dim, embedding_dim)
