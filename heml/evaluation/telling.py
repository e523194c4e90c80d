"""Pairs worth looking at: chosen once, so that the page and every other method explain the same ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch

from heml.distances import correlation_distance
from heml.evaluation.embeddings import NodeEmbeddings
from heml.evaluation.pairing import ranks
from heml.reading import check_known, read_csv
from heml.tree import Tree

TELLING = 8
"""Pairs that are chosen, the most telling first; `report.pairs` are the first of them."""

PAIRS = ["first", "second"]


def read_pairs(path: Path, images: Collection[str]) -> list[tuple[str, str]]:
    """The pairs that the stage `audit` chose, as image_ids.

    Args:
        images: the image_ids that there are.

    Raises:
        HemlError: missing, damaged, or of other images.
    """
    found = read_csv(path, "dvc repro audit", PAIRS, PAIRS)
    for column in PAIRS:
        check_known(path, "dvc repro audit", found[column], images, "image")
    return list(found[PAIRS].itertuples(index=False, name=None))


def telling_pairs(embeddings: Mapping[str, NodeEmbeddings], tree: Tree, count: int) -> list[tuple[str, str]]:
    """Test pairs worth looking at: alike at the root but for one leaf, and unlike at the root but for one leaf, in
    turn.

    Deterministic: of 4,000 random pairs those whose leaves disagree most with the root, no image used twice. Nodes
    stretch their distances differently, so each node's are compared as ranks among the pairs.
    """
    root = embeddings[tree.root]
    rows = root.rows("test")
    if len(rows) < 2:
        return []
    rng = np.random.default_rng(0)
    a = rows[rng.integers(0, len(rows), 4000)]
    b = rows[rng.integers(0, len(rows), 4000)]
    top, *below = (
        ranks(correlation_distance(embeddings[n].vectors[a], embeddings[n].vectors[b]))
        for n in (tree.root, *tree.leaves())
    )
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
