"""Pairs of images and their distance at every node: what the tree's metric is fitted to, and judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from heml.distances import correlation_distance
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.retrieval import Search

MOST_PAIRS = 20_000
"""Pairs that are looked at."""
PER_IMAGE = 128
"""References that an image is paired with, at most."""


@dataclass(frozen=True)
class Pairs:
    """P pairs of an asking image and a reference, with what is known of them."""

    a: NDArray[np.int64]
    """Rows of the images that ask, (P,)."""
    b: NDArray[np.int64]
    """Rows of their references, (P,)."""
    same: NDArray[np.bool_]
    """Whether the two have one label, (P,)."""
    distances: NDArray[np.float64]
    """At every node, (P, M) in [0, 1]; NaN where one of the two lacks the node."""
    counts: NDArray[np.float64] | None = None
    """How much each pair counts, (P,); None: all the same."""

    def weights(self, times: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Of each pair, (P,), so that pairs of one label and of two weigh one half each: at even odds.

        Args:
            times: how often each pair counts, (P,).
        """
        times = np.ones(len(self.same)) if times is None else times
        times = times if self.counts is None else times * self.counts
        found = np.zeros(len(self.same))
        for kind in (self.same, ~self.same):
            total = times[kind].sum()
            if total > 0:
                found[kind] = times[kind] / (2 * total)
        return found

    @property
    def tell(self) -> bool:
        """Whether there are pairs of both kinds."""
        return bool(self.same.any() and not self.same.all())


def draw_pairs(rows: NDArray[np.int64], most: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of different rows: all of them, or `most` drawn at random where there are more.

    Returns:
        (P,) and (P,); empty with fewer than two rows.
    """
    n = len(rows)
    if n * (n - 1) // 2 <= most:
        a, b = np.triu_indices(n, 1)
    else:
        rng = np.random.default_rng(seed)
        a = rng.integers(0, n, most)
        b = (a + rng.integers(1, n, most)) % n
    return rows[a], rows[b]


def ask(
    search: Search, labels: NDArray[np.int64], most: int = MOST_PAIRS, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of every asking image with references of a search, half of its own label as far as there are such; no image
    with itself.

    Every image has equally many, at most `PER_IMAGE`, so that none speaks louder than another.

    Returns:
        (P,) and (P,).
    """
    each = max(min(PER_IMAGE, most // max(len(search.asked), 1)), 2)
    rng = np.random.default_rng(seed)
    a, b = [], []
    for row in search.asked.tolist():
        held = search.held[search.held != row]
        alike = labels[held] == labels[row]
        for kind, count in ((alike, (each + 1) // 2), (~alike, each // 2)):
            found = held[kind]
            found = found if len(found) <= count else rng.choice(found, count, replace=False)
            a.append(np.full(len(found), row))
            b.append(found)
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *a]), np.concatenate([empty, *b])


def pair_distances(embeddings: NodeEmbeddings, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
    """Distances of rows `a` and `b` at a node, (P,) in [0, 1]; NaN where one of the two lacks the node."""
    if not len(a):
        return np.zeros(0, np.float32)
    found: NDArray[np.float32] = correlation_distance(embeddings.vectors[a], embeddings.vectors[b]).numpy()
    return np.where(embeddings.present[a] & embeddings.present[b], found, np.float32("nan"))


def measure(
    embeddings: Mapping[str, NodeEmbeddings], labels: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]
) -> Pairs:
    """The distances of the pairs at every node, in the order of `embeddings`."""
    columns = [pair_distances(stored, a, b).astype(np.float64) for stored in embeddings.values()]
    return Pairs(a, b, labels[a] == labels[b], np.stack(columns, 1))


def ranks(distances: torch.Tensor) -> torch.Tensor:
    """Of each distance, (N,), the share of the known ones that are smaller, in [0, 1]; NaN where it is NaN."""
    known = distances[distances.isfinite()].sort().values
    found = torch.searchsorted(known, distances.nan_to_num(0.0)) / max(len(known), 1)
    return torch.where(distances.isfinite(), found, torch.nan)
