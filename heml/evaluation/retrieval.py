"""Retrieval metrics of one set of embeddings (Musgrave et al., ECCV 2020), with bootstrap intervals and their floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from heml.distances import Distance, nearest


@dataclass(frozen=True)
class Scores:
    """Per query, each (Q,) float64 in [0, 1]."""

    p_at_1: NDArray[np.float64]
    p_at_2: NDArray[np.float64]
    p_at_8: NDArray[np.float64]
    """Precision at k: hits among the k nearest, divided by k even where there are fewer references."""
    r_precision: NDArray[np.float64]
    """Hits among the R nearest / R, with R the number of references of the query's label."""
    map_at_r: NDArray[np.float64]
    """Mean over ranks i ≤ R of (precision at i, if rank i is a hit, else 0)."""


def score(
    queries: torch.Tensor,
    query_labels: NDArray[np.int64],
    references: torch.Tensor,
    reference_labels: NDArray[np.int64],
    distance: Distance,
    within: bool = False,
) -> Scores:
    """Score every query by its nearest references.

    A query whose label no reference has scores 0 on all.

    Args:
        queries: (Q, D). references: (R, D).
        within: queries are the references, in the same order; no image is its own neighbour.
    """
    exclude = torch.arange(len(queries)) if within else None
    relevant = (reference_labels[None, :] == np.unique(query_labels)[:, None]).sum(1)
    count = dict(zip(np.unique(query_labels).tolist(), (relevant - within).tolist(), strict=True))
    needed = np.array([max(count[int(y)], 0) for y in query_labels])
    depth = max(int(needed.max(initial=0)), 8)
    _, found = nearest(queries, references, depth, distance, exclude)
    hits = (reference_labels[found.numpy()] == query_labels[:, None]).astype(np.float64)  # (Q, depth)
    ranks = np.arange(1, hits.shape[1] + 1)
    counted = ranks[None, :] <= needed[:, None]
    precision = hits.cumsum(1) / ranks
    safe = np.maximum(needed, 1)
    return Scores(
        p_at_1=hits[:, 0],
        p_at_2=hits[:, :2].sum(1) / 2,
        p_at_8=hits[:, :8].sum(1) / 8,
        r_precision=(hits * counted).sum(1) / safe,
        map_at_r=(hits * precision * counted).sum(1) / safe,
    )


def interval(values: NDArray[np.float64], resamples: int, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over queries; (NaN, NaN) without queries or resamples."""
    if not len(values) or not resamples:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def floors(query_labels: NDArray[np.int64], reference_labels: NDArray[np.int64]) -> tuple[float, float]:
    """What knowing nothing gives: (P@1 of a random reference, accuracy of always naming the commonest reference label)."""
    if not len(query_labels) or not len(reference_labels):
        return float("nan"), float("nan")
    size = max(query_labels.max(), reference_labels.max()) + 1
    asked = np.bincount(query_labels, minlength=size) / len(query_labels)
    held = np.bincount(reference_labels, minlength=size) / len(reference_labels)
    return float(asked @ held), float(asked[held.argmax()])
