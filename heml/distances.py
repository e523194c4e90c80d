"""Distances between embeddings, and nearest neighbours under them in plain torch.

The signal-to-noise ratio (SNR) distance of an anchor a to b is var(a − b) / var(a), with unbiased variances over the
dimensions (Yuan et al., CVPR 2019, eq. 4). Its numerator is the squared Euclidean distance between the centred
embeddings up to 1/(D − 1), its denominator is the anchor's own, so per anchor it ranks as Euclidean distance between
centred embeddings: one matrix product serves both.
"""

from __future__ import annotations

from typing import Literal

import torch

Distance = Literal["snr", "euclidean"]

_CHUNK = 2048
"""Queries ranked at a time: memory is chunk × references."""


def snr(anchors: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """SNR distance row by row: var(a − b) / var(a).

    Args:
        anchors, others: (..., D), broadcast against each other.

    Returns:
        (...), in [0, ∞); asymmetric.
    """
    return (anchors - others).var(-1) / anchors.var(-1)


def bounded_snr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Symmetric SNR distance for people: var(a − b) / (2·(var a + var b)), in [0, 1]; the similarity is 1 minus it.

    0: equal up to a constant; 0.5: uncorrelated; 1: b = −a. It is bounded since var(a − b) ≤ 2·(var a + var b).
    Two constant embeddings have distance 0.

    Args:
        a, b: (..., D), broadcast against each other.
    """
    total = 2 * (a.var(-1) + b.var(-1))
    return torch.where(total > 0, (a - b).var(-1) / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0).clamp(0, 1)


def nearest(
    queries: torch.Tensor, references: torch.Tensor, k: int, distance: Distance = "snr", exclude: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest references of each query, nearest first.

    Args:
        queries: (Q, D) float.
        references: (R, D) float.
        exclude: (Q,) int64, a reference that is no neighbour of its query (itself), or −1.

    Returns:
        Distances (Q, k) and indices (Q, k) int64; k is at most the number of eligible references.
    """
    k = min(k, len(references) - (exclude is not None))
    if distance == "snr":
        queries, references = (x - x.mean(-1, keepdim=True) for x in (queries, references))
    squared = references.square().sum(1)  # (R,)
    distances, indices = [], []
    for start in range(0, len(queries), _CHUNK):
        q = queries[start : start + _CHUNK]
        d = torch.addmm(squared.expand(len(q), -1), q, references.T, alpha=-2)  # (C, R): squared, less |q|²
        if exclude is not None:
            own = exclude[start : start + _CHUNK]
            rows = torch.nonzero(own >= 0).squeeze(1)
            d[rows, own[rows]] = torch.inf
        value, index = d.topk(k, dim=1, largest=False)
        own_square = q.square().sum(1, keepdim=True)
        value = (value + own_square).clamp_min(0)
        distances.append(value / own_square.clamp_min(torch.finfo(q.dtype).tiny) if distance == "snr" else value.sqrt())
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)
