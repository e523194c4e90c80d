"""Attentive grouping (Xu et al., "Towards Improved and Interpretable Deep Metric Learning via Attentive Grouping",
arXiv 2011.08877).

K learned queries look at the feature map; each gathers, by attention over positions, a part of the embedding of its
own. The attention maps are the explanation.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import nn
from torch.nn import functional as F

from heml.baselines.evidence import Evidence, cells, saliency
from heml.learning.embedders import Aim, Embedder
from heml.learning.networks import Architecture, MetricNetwork
from heml.learning.objectives import Objective, objective
from heml.learning.trunks import channels
from heml.params import Train


class Groups(Embedder):
    """(B, C, h, w) → (B, K·⌊D/K⌋): K parts of length 1, joined and divided by √K.

    Keys are a 1×1 convolution without bias to C/8 channels, values one to ⌊D/K⌋; a group is the sum of the values
    weighted by the softmax, over positions, of its query times the keys.
    """

    def __init__(self, features: int, embedding_dim: int, groups: int, diversity: float) -> None:
        nn.Module.__init__(self)
        self.diversity = diversity
        self.key = nn.Conv2d(features, max(features // 8, 1), 1, bias=False)
        self.value = nn.Conv2d(features, embedding_dim // groups, 1, bias=False)
        self.queries = nn.Parameter(torch.empty(groups, self.key.out_channels))
        nn.init.xavier_normal_(self.queries)

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → (B, K, h, w); each map sums to 1."""
        weights: torch.Tensor = (self.queries @ self.key(x).flatten(2)).softmax(2)  # (B, K, h·w)
        return weights.view(len(x), -1, *x.shape[2:])

    def groups(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → (B, K, D/K), each of length 1."""
        return F.normalize(self.attention(x).flatten(2) @ self.value(x).flatten(2).transpose(1, 2), dim=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        groups = self.groups(x).float()  # (B, K, D/K)
        joined: torch.Tensor = groups.flatten(1) / groups.shape[1] ** 0.5
        return joined

    def loss(self, x: torch.Tensor, labels: torch.Tensor, aim: Aim) -> tuple[torch.Tensor, int]:
        """The metric loss averaged over groups, and the diversity loss."""
        groups = self.groups(x)  # (B, K, D/K)
        losses, mined = zip(*(aim(group, labels) for group in groups.unbind(1)), strict=True)
        return torch.stack(losses).mean() + self.diversity * diversity_loss(groups), max(mined)


def diversity_loss(groups: torch.Tensor) -> torch.Tensor:
    """Σ over the pairs of groups of log(1 + exp(2·(cos − 0.5)·25)) / (K − 1), averaged over images: (B, K, d), of
    length 1 → scalar.

    It pushes the groups of one image below a cosine of 0.5.
    """
    pairs = [(groups[:, i] * groups[:, j]).sum(1) for i, j in combinations(range(groups.shape[1]), 2)]
    return F.softplus(2 * (torch.stack(pairs) - 0.5) * 25).sum(0).mean() / (groups.shape[1] - 1)


class AttentiveGrouping(MetricNetwork):
    """A trunk with `Groups` on top."""

    embedder: Groups

    def __init__(self, architecture: Architecture, size: tuple[int, int], groups: int, diversity: float) -> None:
        """
        Raises:
            HemlError: the feature map is a single cell.
        """
        super().__init__(architecture, size)
        cells(self.trunk, size)
        self.embedder = Groups(channels(self.trunk, *size), architecture.embedding_dim, groups, diversity)

    def aim(self, settings: Train, classes: int) -> Objective:
        """A loss without class centres, which groups cannot share, for every group."""
        return objective(settings, classes)

    @torch.inference_mode()
    def evidence(self, first: torch.Tensor, second: torch.Tensor) -> Evidence:
        """Every group's attention in both images, (1, 3, h, w) prepared each."""
        features = self.trunk(torch.cat([first, second]))  # (2, C, h', w')
        a, b = self.embedder.groups(features)  # (K, D/K) each
        size = (first.shape[2], first.shape[3])
        cosines = (a * b).sum(1)  # (K,)
        maps = {
            f"group {k + 1}: cosine {cosine:.2f}": saliency(attention, size)
            for k, (cosine, attention) in enumerate(
                zip(cosines.tolist(), self.embedder.attention(features).unbind(1), strict=True)
            )
        }
        return Evidence(1 - float(cosines.mean()), maps)
