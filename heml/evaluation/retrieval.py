"""Retrieval metrics of one set of embeddings (Musgrave et al., ECCV 2020), with bootstrap intervals and their floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heml.distances import Distance, Metric, nearest
from heml.params import Evaluate

_CELLS = 1 << 23
"""Queries × ranks scored at a time: a few hundred MB."""


@dataclass(frozen=True)
class Hits:
    """What the metrics are computed on."""

    by_rank: NDArray[np.bool_]
    """Whether the reference at a rank has the query's label, nearest first, (Q, depth)."""
    needed: NDArray[np.int64]
    """R, the number of references of the query's label, (Q,)."""

    @property
    def relevant(self) -> NDArray[np.bool_]:
        """Hits among the R nearest, (Q, depth)."""
        found: NDArray[np.bool_] = self.by_rank & (np.arange(1, self.by_rank.shape[1] + 1) <= self.needed[:, None])
        return found

    @property
    def precision(self) -> NDArray[np.floating[Any]]:
        """Share of hits down to each rank, (Q, depth) float32."""
        ranks = np.arange(1, self.by_rank.shape[1] + 1).astype(np.float32)
        share: NDArray[np.floating[Any]] = self.by_rank.cumsum(1, dtype=np.float32) / ranks
        return share

    def over_needed(self, sums: NDArray[Any]) -> NDArray[np.float64]:
        """Sums (Q,) divided by R; without references of the label, by 1."""
        mean: NDArray[np.float64] = sums / np.maximum(self.needed, 1)
        return mean


@dataclass(frozen=True)
class Score:
    """A retrieval metric."""

    of: Callable[[Hits], NDArray[np.float64]]
    """Per query, (Q,) float64 in [0, 1]; the eight nearest are there, or more."""
    plain: str = ""
    """What the page's tables call it; without it, a column of the CSV files alone."""
    term: str = ""
    """The field's word for it."""


METRICS = {
    # precision: hits among the k nearest, divided by k even where there are fewer references
    "p@1": Score(lambda h: h.by_rank[:, 0].astype(float), "right", "P@1"),
    "p@2": Score(lambda h: h.by_rank[:, :2].sum(1) / 2, "of 2 nearest", "P@2"),
    "p@8": Score(lambda h: h.by_rank[:, :8].sum(1) / 8, "of 8 nearest", "P@8"),
    # whether any of the k nearest is a hit: what much of the literature calls recall at k
    "any_hit@2": Score(lambda h: h.by_rank[:, :2].any(1).astype(float)),
    "any_hit@8": Score(lambda h: h.by_rank[:, :8].any(1).astype(float)),
    # hits among the R nearest / R
    "r_precision": Score(lambda h: h.over_needed(h.relevant.sum(1)), "of all its label", "R-precision"),
    # mean over ranks i ≤ R of (precision at i, if rank i is a hit, else 0)
    "map@r": Score(lambda h: h.over_needed((h.precision * h.relevant).sum(1, dtype=np.float64)), "ranked", "MAP@R"),
}
"""By the column of the tables."""

SHOWN = [name for name, score in METRICS.items() if score.plain and name != "p@1"]
"""What stands on the page beside P@1, which has an interval there."""

Scores = dict[str, NDArray[np.float64]]
"""`METRICS` of every query, (Q,) each."""


def score(
    queries: torch.Tensor,
    query_labels: NDArray[np.int64],
    references: torch.Tensor,
    reference_labels: NDArray[np.int64],
    distance: Metric,
    within: bool = False,
) -> Scores:
    """Score every query by its nearest references.

    A query whose label no reference has scores 0 on all.

    Args:
        queries: (Q, D). references: (R, D).
        within: queries are the references, in the same order; no image is its own neighbour.
    """
    held = np.unique(reference_labels, return_counts=True)
    count = dict(zip(held[0].tolist(), (held[1] - within).tolist(), strict=True))
    needed = np.array([max(count.get(int(y), 0), 0) for y in query_labels], np.int64)
    depth = max(int(needed.max(initial=0)), 8)
    size = max(_CELLS // depth, 1)
    parts = []
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        exclude = torch.arange(len(queries))[rows] if within else None
        found = nearest(queries[rows], references, depth, distance, exclude)[1].numpy()
        hits = Hits(reference_labels[found] == query_labels[rows, None], needed[rows])
        parts.append([metric.of(hits) for metric in METRICS.values()])
    columns = zip(*parts, strict=True)
    return {name: np.concatenate(column) for name, column in zip(METRICS, columns, strict=True)}


def interval(values: NDArray[np.float64], resamples: int, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over queries; (NaN, NaN) without queries or resamples."""
    if not len(values) or not resamples:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def floors(query_labels: NDArray[np.int64], reference_labels: NDArray[np.int64]) -> tuple[float, float]:
    """What knowing nothing gives: (P@1 of a random reference, accuracy of always naming the commonest reference
    label)."""
    if not len(query_labels) or not len(reference_labels):
        return float("nan"), float("nan")
    size = max(query_labels.max(), reference_labels.max()) + 1
    asked = np.bincount(query_labels, minlength=size) / len(query_labels)
    held = np.bincount(reference_labels, minlength=size) / len(reference_labels)
    return float(asked @ held), float(asked[held.argmax()])


@dataclass(frozen=True)
class Search:
    """Which rows of a data set ask, and among which each looks for its neighbours."""

    asked: NDArray[np.int64]
    held: NDArray[np.int64]
    within: bool
    """The two are the same; no image is its own neighbour."""

    @property
    def possible(self) -> bool:
        """Whether anything asks and has somebody to find."""
        return len(self.asked) > self.within and len(self.held) > self.within

    def score(self, vectors: torch.Tensor, labels: NDArray[np.int64], distance: Metric) -> Scores:
        """Score the asking rows of (N, D) vectors."""
        return score(
            vectors[self.asked], labels[self.asked], vectors[self.held], labels[self.held], distance, self.within
        )

    def nearest(self, vectors: torch.Tensor, k: int, distance: Metric) -> NDArray[np.int64]:
        """Rows of the k nearest of each asking row, (len(asked), k), nearest first."""
        exclude = torch.arange(len(self.asked)) if self.within else None
        found: NDArray[np.int64] = self.held[
            nearest(vectors[self.asked], vectors[self.held], k, distance, exclude)[1].numpy()
        ]
        return found


def nearest_but_itself(
    vectors: torch.Tensor, rows: NDArray[np.int64], held: NDArray[np.int64], k: int, metric: Metric
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The nearest of each row, itself left out: distances and places in `held`, (len(rows), k) each."""
    place = np.full(len(vectors), -1)
    place[held] = np.arange(len(held))
    distances, found = nearest(vectors[rows], vectors[held], k, metric, torch.from_numpy(place[rows]))
    return distances.numpy(), found.numpy()


def reported(settings: Evaluate, trained: Distance) -> Distance:
    """The distance that scores are reported under: `evaluate.distance`, or what a network was trained under."""
    return trained if settings.distance == "trained" else settings.distance


def search_in(rows: Callable[[str], NDArray[np.int64]], split: str, search: str) -> Search:
    """Who asks and answers when a split is evaluated (`evaluate.search`).

    Args:
        rows: the rows of a split that can take part.
        search: `train`, or `within` the split.
    """
    asked = rows(split)
    return Search(asked, asked if search == "within" else rows("train"), search == "within")
