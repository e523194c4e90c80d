"""Distances between embeddings, and nearest neighbours under them in plain torch.

The signal-to-noise ratio (SNR) distance of an anchor a to b is var(a − b) / var(a), with unbiased variances over the
dimensions (Yuan et al., CVPR 2019, eq. 4). Its numerator is the squared Euclidean distance between the centred
embeddings up to 1/(D − 1), its denominator is the anchor's own, so per anchor it ranks as Euclidean distance between
centred embeddings: one matrix product serves both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

Distance = str
"""`snr`, `euclidean`, `cosine` (1 − cosine), or an Lp distance as `l1`, `l3`, `l1.5` …; `heml.params` checks the
form."""

Metric = Distance | Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A distance by name, or a function (Q, D) and (R, D) → (Q, R) that is smaller for what is nearer."""

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


def correlation_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(1 − ρ) / 2 with ρ Pearson's correlation over the dimensions: a distance for people, in [0, 1] and symmetric.

    0: equal up to scale and shift; 0.5: uncorrelated, or one of the two constant; 1: opposite. Of embeddings with equal
    variance it is var(a − b) / (4·var), so it ranks as the SNR distance does; and it is half of 1 − a dot product of
    `standardise`d embeddings.

    Args:
        a, b: (..., D), broadcast against each other.
    """
    return (1 - (standardise(a) * standardise(b)).sum(-1)).div(2).clamp(0, 1)


def standardise(x: torch.Tensor) -> torch.Tensor:
    """Embeddings (..., D), centred over their dimensions and of length 1; of a constant one 0."""
    return F.normalize(x - x.mean(-1, keepdim=True), dim=-1)


def exponent(distance: Distance) -> float:
    """The p of an Lp distance's name; 2 for `euclidean`."""
    return 2.0 if distance == "euclidean" else float(distance.removeprefix("l"))


def nearest(
    queries: torch.Tensor,
    references: torch.Tensor,
    k: int,
    distance: Metric = "snr",
    exclude: torch.Tensor | None = None,
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
    elif distance == "cosine":
        queries, references = F.normalize(queries, dim=-1), F.normalize(references, dim=-1)
    by_product = distance in ("snr", "euclidean", "cosine", "l2")
    squared = references.square().sum(1)  # (R,)
    distances, indices = [], []
    for start in range(0, len(queries), _CHUNK):
        q = queries[start : start + _CHUNK]
        if callable(distance):
            d = distance(q, references).clone()
        elif by_product:
            d = torch.addmm(squared.expand(len(q), -1), q, references.T, alpha=-2)  # (C, R): squared, less |q|²
        else:
            d = torch.cdist(q, references, p=exponent(distance))
        if exclude is not None:
            own = exclude[start : start + _CHUNK]
            rows = torch.nonzero(own >= 0).squeeze(1)
            d[rows, own[rows]] = torch.inf
        value, index = d.topk(k, dim=1, largest=False)
        distances.append(_from_squares(value, q, str(distance)) if by_product else value)
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)


def _from_squares(value: torch.Tensor, q: torch.Tensor, distance: Distance) -> torch.Tensor:
    """Squared Euclidean distances less |q|², (C, k), as the distance asked for."""
    own = q.square().sum(1, keepdim=True)
    squares = (value + own).clamp_min(0)
    if distance == "snr":
        return squares / own.clamp_min(torch.finfo(q.dtype).tiny)
    return squares / 2 if distance == "cosine" else squares.sqrt()
