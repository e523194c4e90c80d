"""Distances as pytorch-metric-learning's losses and miners want them, by the names of `heml.distances`."""

from __future__ import annotations

import torch
from pytorch_metric_learning.distances import BaseDistance, LpDistance

from heml.distances import Distance, exponent


class MatmulSNR(BaseDistance):
    """SNR distance, var(a − b) / var(a), from one matrix product.

    The library's own holds every difference, batch² × D; this holds batch². Gradients are the same.
    """

    def compute_mat(self, query_emb: torch.Tensor, ref_emb: torch.Tensor) -> torch.Tensor:
        """(Q, D) and (R, D) → (Q, R)."""
        a = query_emb - query_emb.mean(1, keepdim=True)
        b = ref_emb - ref_emb.mean(1, keepdim=True)
        power = a.square().sum(1, keepdim=True)
        return (power + b.square().sum(1) - 2 * a @ b.T).clamp_min(0) / power

    def pairwise_distance(self, query_emb: torch.Tensor, ref_emb: torch.Tensor) -> torch.Tensor:
        """(Q, D) and (Q, D) → (Q,)."""
        return (query_emb - ref_emb).var(1) / query_emb.var(1)


class CosineDistance(BaseDistance):
    """1 − cosine, so that margins mean the same as under the other distances."""

    def compute_mat(self, query_emb: torch.Tensor, ref_emb: torch.Tensor) -> torch.Tensor:
        """(Q, D) and (R, D), of length 1 → (Q, R)."""
        return 1 - query_emb @ ref_emb.T

    def pairwise_distance(self, query_emb: torch.Tensor, ref_emb: torch.Tensor) -> torch.Tensor:
        """(Q, D) and (Q, D), of length 1 → (Q,)."""
        return 1 - (query_emb * ref_emb).sum(1)


def training_distance(name: Distance) -> BaseDistance:
    """The library's distance of that name, on embeddings of length 1."""
    if name == "snr":
        return MatmulSNR()
    if name == "cosine":
        return CosineDistance()
    return LpDistance() if name == "euclidean" else _Lp(exponent(name))


class _Lp(LpDistance):
    """Lp distance that still normalises by the Euclidean length; the library would by the Lp norm."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def normalize(self, embeddings: torch.Tensor, dim: int = 1, **kwargs: object) -> torch.Tensor:
        return torch.nn.functional.normalize(embeddings, dim=dim)
