"""Group Loss (Elezi et al., "The Group Loss for Deep Metric Learning", ECCV 2020): a batch decides together."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class GroupLoss(nn.Module):
    """Class probabilities of a batch, refined by replicator dynamics over the similarities of its members, and
    cross-entropy beside it.

    1. A linear classifier gives every sample its logits (B, C), and their softmax at `temperature` its probabilities X
       (B, C); `anchors` samples of each class, drawn at random, take their label instead.
    2. W (B, B) is Pearson's correlation of the embeddings, negatives set to 0. Its diagonal is 1: a sample is as
       similar as can be to itself, and its own probabilities support it. So the authors' code has it, where other games
       on graphs leave it out.
    3. `iterations` times: X ← X ∘ (W X), each row divided by its sum (eq. 4). An anchor keeps its label.
    4. The loss is the mean of −log of the refined probability of the own label, 0 for anchors, plus the
       cross-entropy of the logits.

    Args:
        scale: the classifier compares directions; its cosines times this are the logits.
        temperature: what the logits are divided by before the softmax of X, and there alone. The authors' is 24 to 79
            by data set, of logits without bound.
    """

    def __init__(
        self, classes: int, embedding_dim: int, iterations: int, anchors: int, scale: float, temperature: float
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, embedding_dim))
        nn.init.xavier_normal_(self.weight)
        self.iterations, self.anchors, self.scale, self.temperature = iterations, anchors, scale, temperature

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B, D) and (B,) int64 → scalar."""
        directions = F.normalize(self.weight.to(embeddings), dim=1)  # (C, D)
        logits = self.scale * F.normalize(embeddings, dim=1) @ directions.T  # (B, C)
        anchor = self._draw_anchors(labels)
        prior = (logits / self.temperature).softmax(1)
        shares = torch.where(anchor[:, None], F.one_hot(labels, logits.shape[1]).to(logits), prior)
        similarity = correlation(embeddings).clamp_min(0)  # (B, B)
        for _ in range(self.iterations):
            supported = shares * (similarity @ shares)
            shares = supported / supported.sum(1, keepdim=True).clamp_min(torch.finfo(supported.dtype).tiny)
        refined = F.nll_loss(shares.clamp_min(1e-12).log(), labels)
        return refined + F.cross_entropy(logits, labels)

    def _draw_anchors(self, labels: torch.Tensor) -> torch.Tensor:
        """(B,) bool: `anchors` of each class in the batch, or all where there are no more."""
        order = torch.rand(len(labels)).to(labels.device).argsort()
        same = labels[order][:, None] == labels[order][None]
        rank = torch.empty_like(labels)
        rank[order] = same.tril(-1).sum(1)  # how many of its class come before it
        return rank < self.anchors


def correlation(x: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation between the rows of (B, D): (B, B), in [−1, 1]."""
    centred = F.normalize(x - x.mean(1, keepdim=True), dim=1)
    return centred @ centred.T
