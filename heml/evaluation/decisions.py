"""Same or different: what a distance decides at a node, and how the nodes' decisions become one.

A decision is a vote: 1 for “the same label”, −1 for “different”, 0 where the node has nothing to compare.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from heml.tree import Tree

Votes = NDArray[np.int8]


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


def best_threshold(distances: NDArray[np.float32], same: NDArray[np.bool_]) -> float:
    """The distance up to which two images count as the same, so that balanced accuracy is highest; of equals the smallest.

    It lies midway between two distances that occur. NaN where only one kind of pair is there.

    Args:
        distances: (P,), none NaN.
        same: (P,), whether the two images have the same label.
    """
    if same.all() or not same.any():
        return float("nan")
    order = np.argsort(distances, kind="stable")
    ordered, hits = distances[order].astype(np.float64), same[order]
    kept = np.cumsum(hits) / hits.sum()  # same pairs up to here, called the same
    let_in = np.cumsum(~hits) / (~hits).sum()  # different pairs up to here, called the same
    gain = kept - let_in
    gain[:-1][ordered[:-1] == ordered[1:]] = -np.inf  # equal distances cannot be parted
    best = int(gain.argmax())
    return float(ordered[best] if best + 1 == len(ordered) else (ordered[best] + ordered[best + 1]) / 2)


def balanced_accuracy(votes: Votes, same: NDArray[np.bool_]) -> float:
    """Mean of the shares of same and of different pairs that are called so, over the pairs that have a vote; 0.5 is chance.

    NaN where only one kind of pair has one.
    """
    cast = votes != 0
    shares = [(votes[cast & kind] == right).mean() for kind, right in ((same, 1), (~same, -1)) if (cast & kind).any()]
    return float(np.mean(shares)) if len(shares) == 2 else float("nan")


def vote(distances: NDArray[np.float32], threshold: float) -> Votes:
    """Votes of (P,) distances: 1 up to the threshold, −1 above it, 0 where either is NaN."""
    votes = np.where(distances <= threshold, 1, -1)
    return np.where(np.isnan(distances) | np.isnan(threshold), 0, votes).astype(np.int8)


def compose(tree: Tree, own: Mapping[str, Votes]) -> dict[str, Votes]:
    """Decisions from the leaves upward, node → (P,).

    A leaf decides for itself. A node joins three votes: its own metric's and its two children's composed decisions; the
    majority wins, and its own where there is none. So the root's follows from the parts, and each step can be read.
    """
    found: dict[str, Votes] = {}
    for node in tree:
        total = own[node.name] + sum((found[child] for child in node.children), np.zeros_like(own[node.name]))
        found[node.name] = np.where(total == 0, own[node.name], np.sign(total)).astype(np.int8)
    return found
