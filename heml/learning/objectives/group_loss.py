"""Group Loss (Elezi et al., "The Group Loss for Deep Metric Learning", ECCV 2020): a batch decides together."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class GroupLoss(nn.Module):
    """Class probabilities of a batch, refined by replicator dynamics over the similarities of its members.

    1. A linear classifier and a softmax give every sample its probabilities X (B, C); `anchors` samples of each class, drawn
       at random, take their label instead.
    2. W (B, B) is Pearson's correlation of the embeddings, negatives and the diagonal set to 0.
    3. `iterations` times: X ← X ∘ (W X), each row divided by its sum (eq. 4). A sample without any positive similarity keeps
       its row.
    4. The loss is the mean cross-entropy of the refined rows of the samples that are no anchors.

    Args:
        scale: the classifier compares directions; its cosines times this are the logits.
    """

    def __init__(self, classes: int, embedding_dim: int, iterations: int = 3, anchors: int = 1, scale: float = 10.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, embedding_dim))
        nn.init.xavier_normal_(self.weight)
        self.iterations, self.anchors, self.scale = iterations, anchors, scale

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B, D) and (B,) int64 → scalar; 0 where every sample is an anchor."""
        logits = self.scale * F.normalize(embeddings, dim=1) @ F.normalize(self.weight.to(embeddings), dim=1).T
        anchor = self._draw_anchors(labels)
        shares = torch.where(anchor[:, None], F.one_hot(labels, logits.shape[1]).to(logits), logits.softmax(1))
        similarity = correlation(embeddings).clamp_min(0)
        similarity = similarity * (1 - torch.eye(len(labels), device=labels.device, dtype=similarity.dtype))
        for _ in range(self.iterations):
            supported = shares * (similarity @ shares)
            total = supported.sum(1, keepdim=True)
            shares = torch.where(total > 0, supported / total.clamp_min(torch.finfo(total.dtype).tiny), shares)
        if bool(anchor.all()):
            return embeddings.sum() * 0
        own = shares[torch.arange(len(labels), device=labels.device), labels][~anchor]
        return -own.clamp_min(1e-12).log().mean()

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
