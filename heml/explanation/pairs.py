"""The tree of distances of a pair of images, from stored embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from heml.distances import bounded_snr
from heml.errors import HemlError
from heml.evaluation.embeddings import NodeEmbeddings
from heml.tree import Tree


@dataclass(frozen=True)
class NodeDistance:
    """How far two images are apart at one node."""

    distance: float
    """Bounded SNR distance in [0, 1]; NaN where one of them lacks the node's segments."""
    percentile: float
    """Share of held-out pairs that are at most this far apart at the node, in [0, 100]; NaN likewise."""
    present: tuple[bool, bool]

    def __str__(self) -> str:
        if not all(self.present):
            return "absent in " + {(False, True): "the first", (True, False): "the second", (False, False): "both"}[self.present]
        rank = "" if np.isnan(self.percentile) else f"  (closer than {100 - self.percentile:.0f} % of pairs)"
        return f"{self.distance:.2f}{rank}"


@dataclass(frozen=True)
class Explanation:
    """Two images and their distance at every node."""

    first: str
    second: str
    tree: Tree
    nodes: dict[str, NodeDistance]

    def __str__(self) -> str:
        notes = {name: str(d) for name, d in self.nodes.items()}
        return f"{self.first} and {self.second}: 0 is the same, 0.5 unrelated, 1 opposite\n{self.tree.draw(notes)}"


def held_out_distances(embeddings: NodeEmbeddings, split: str = "test", most: int = 5000, seed: int = 0) -> torch.Tensor:
    """Sorted bounded SNR distances of random pairs of different images of a split: the scale that a percentile is read on.

    Returns:
        (P,) with P ≤ `most`; empty where fewer than two images have the node.
    """
    rows = embeddings.rows(split)
    if len(rows) < 2:
        return torch.zeros(0)
    rng = np.random.default_rng(seed)
    a = rng.integers(0, len(rows), most)
    b = (a + rng.integers(1, len(rows), most)) % len(rows)
    vectors = embeddings.vectors
    return bounded_snr(vectors[rows[a]], vectors[rows[b]]).sort().values


def percentile(distance: float, scale: torch.Tensor) -> float:
    """Share of `scale` (sorted) at most `distance`, in percent; NaN where either is unknown."""
    if not len(scale) or np.isnan(distance):
        return float("nan")
    return float(torch.searchsorted(scale, torch.tensor(distance), right=True)) / len(scale) * 100


def explain_stored(first: str, second: str, tree: Tree, embeddings: Mapping[str, NodeEmbeddings]) -> Explanation:
    """Explain a pair of images of the data set.

    Raises:
        HemlError: an unknown image_id.
    """
    ids = embeddings[tree.root].image_ids
    rows = []
    for image_id in (first, second):
        if image_id not in ids:
            raise HemlError(f"image_id {image_id!r}: not in the data set")
        rows.append(ids.index(image_id))
    nodes = {}
    for name, stored in embeddings.items():
        there = (bool(stored.present[rows[0]]), bool(stored.present[rows[1]]))
        distance = float(bounded_snr(stored.vectors[rows[0]], stored.vectors[rows[1]])) if all(there) else float("nan")
        nodes[name] = NodeDistance(distance, percentile(distance, held_out_distances(stored)), there)
    return Explanation(first, second, tree, nodes)


def telling_pairs(embeddings: Mapping[str, NodeEmbeddings], tree: Tree, count: int) -> list[tuple[str, str]]:
    """Test pairs worth looking at: alike at the root but for one leaf, and unlike at the root but for one leaf, in turn.

    Deterministic: of 4,000 random pairs those whose leaves disagree most with the root, no image used twice. Nodes stretch
    their distances differently, so each node's are compared as ranks among the pairs.
    """
    root = embeddings[tree.root]
    rows = root.rows("test")
    if len(rows) < 2:
        return []
    rng = np.random.default_rng(0)
    a = rows[rng.integers(0, len(rows), 4000)]
    b = rows[rng.integers(0, len(rows), 4000)]
    top, *below = (_ranks(bounded_snr(embeddings[n].vectors[a], embeddings[n].vectors[b])) for n in (tree.root, *tree.leaves()))
    leaves = torch.stack(below)
    known = leaves.isfinite()
    alike = torch.where(known, leaves, -1.0).max(0).values - top
    unlike = top - torch.where(known, leaves, 2.0).min(0).values
    pairs: list[tuple[str, str]] = []
    used: set[int] = set()
    orders = [alike.argsort(descending=True).tolist(), unlike.argsort(descending=True).tolist()]
    while len(pairs) < count:
        order = orders[len(pairs) % 2]
        pick = next((i for i in order if a[i] != b[i] and not {int(a[i]), int(b[i])} & used), None)
        if pick is None:
            return pairs
        used |= {int(a[pick]), int(b[pick])}
        pairs.append((root.image_ids[a[pick]], root.image_ids[b[pick]]))
    return pairs


def _ranks(distances: torch.Tensor) -> torch.Tensor:
    """Share of the known distances that are smaller, in [0, 1]; NaN where unknown."""
    known = distances[distances.isfinite()].sort().values
    ranks = torch.searchsorted(known, distances.nan_to_num(0.0)) / max(len(known), 1)
    return torch.where(distances.isfinite(), ranks, torch.nan)
